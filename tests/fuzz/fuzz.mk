# fuzz.mk - the fuzz targets with libFuzzer, by GNU make; started by Makefile in the folder of the build.
#
# All of the sources are compiled once more, with clang and with the counters that libFuzzer
# steers by: what the build itself has made has none. Given: top_srcdir, CLANG, FUZZ_CPPFLAGS
# (where the headers are), FUZZ_LIBS, FUZZ_FUSE_CFLAGS, FUZZ_FUSE_LIBS, TARGETS, and for a target
# TARGET_wrap (what it takes the place of).

here = tests/fuzz
out = $(here)/libfuzzer
sanitize = -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
CFLAGS = -std=gnu11 -O1 -g
cppflags = -D_GNU_SOURCE -DHAVE_CONFIG_H -I. -I$(top_srcdir)/include -I$(top_srcdir) -I$(top_srcdir)/libdlock \
	-Ilibdlock $(FUZZ_CPPFLAGS)

library = $(wildcard $(top_srcdir)/libdlock/*.c $(top_srcdir)/libdlock/core/*.c)
objects = $(patsubst $(top_srcdir)/%.c,$(out)/%.o,$(library)) $(out)/fuse/record.o $(out)/tools/text.o $(out)/$(here)/fuzz.o
headers = $(wildcard $(top_srcdir)/*/*.h $(top_srcdir)/libdlock/core/*.h $(top_srcdir)/$(here)/*.h) build.h libdlock/script_data.h

.PHONY: all
all: $(addprefix $(out)/,$(notdir $(TARGETS)))
# Nothing between a source and a program is thrown away.
.SECONDARY:

# The header of the whole, since there is no list of what each source includes.
$(out)/%.o: $(top_srcdir)/%.c $(headers)
	@mkdir -p $(@D)
	$(CLANG) $(cppflags) $(CFLAGS) $(sanitize) -fsanitize=fuzzer-no-link -c -o $@ $<

$(out)/library.a: $(objects)
	@rm -f $@
	ar rc $@ $^

link = $(CLANG) $(sanitize) -fsanitize=fuzzer -o $@ $(filter %.o,$^) $(out)/library.a $($(@F)_wrap) $(FUZZ_LIBS)

$(out)/fuzz_replies $(out)/fuzz_masters: $(out)/$(here)/honest.o $(out)/tests/unit/model_master.o
$(out)/fuzz_options: $(out)/tools/options.o
$(out)/fuzz_mount: cppflags += $(FUZZ_FUSE_CFLAGS)
$(out)/fuzz_mount: $(out)/fuse/options.o
$(out)/fuzz_mount: override FUZZ_LIBS += $(FUZZ_FUSE_LIBS)
$(out)/fuzz_%: $(out)/$(here)/fuzz_%.o $(out)/library.a
	$(link)

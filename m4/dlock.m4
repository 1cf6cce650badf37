# dlock.m4 - the macros of libdlock's own configure.ac.
#
# A dependency that is missing does not stop configure at once: it is noted, and
# all that were noted are told together at the end, each with the Debian package
# that brings it. Stopping at the first costs a person one run for each.

# DLOCK_MISSING(WHAT, DEBIAN-PACKAGE)
AC_DEFUN([DLOCK_MISSING],
	[dlock_missing="$dlock_missing
    $1  (Debian package: $2)"
	dlock_missing_packages="$dlock_missing_packages $2"])

# DLOCK_NEED_MODULE(PREFIX, MODULES, DEBIAN-PACKAGE): a pkg-config module that the
# library cannot do without.
AC_DEFUN([DLOCK_NEED_MODULE],
	[PKG_CHECK_MODULES([$1], [$2], [], [DLOCK_MISSING([$2], [$3])])])

# DLOCK_REPORT_MISSING: stop here if anything was noted.
AC_DEFUN([DLOCK_REPORT_MISSING],
	[AS_IF([test -n "$dlock_missing"],
		[AC_MSG_ERROR([these are missing:
$dlock_missing

    On Debian: apt-get install$dlock_missing_packages
    or let scripts/install-dependencies do it.])])])

# DLOCK_FEATURE(NAME, TEXT): --with-NAME as yes, no or check in with_NAME.
# "yes" makes a missing dependency an error, "check" builds without it.
AC_DEFUN([DLOCK_FEATURE],
	[AC_ARG_WITH([$1], [AS_HELP_STRING([--without-$1], [$2])], [], [with_$1=check])
	AS_CASE([$with_$1], [yes|no|check], [],
		[AC_MSG_ERROR([--with-$1=$with_$1: accepted are yes, no and check])])])

# DLOCK_FEATURE_MODULE(NAME, PREFIX, MODULES, DEBIAN-PACKAGE): looks for the
# module of a feature; have_NAME becomes yes or no.
AC_DEFUN([DLOCK_FEATURE_MODULE],
	[have_$1=no
	AS_IF([test "x$with_$1" != xno],
		[PKG_CHECK_MODULES([$2], [$3], [have_$1=yes],
			[AS_IF([test "x$with_$1" = xyes], [DLOCK_MISSING([$3], [$4])])])])])

# DLOCK_CC_OPTION(VARIABLE, OPTION): adds OPTION to VARIABLE if the compiler takes
# it. -Werror, because clang only warns of an option that it does not know.
AC_DEFUN([DLOCK_CC_OPTION],
	[AS_VAR_PUSHDEF([cached], [dlock_cv_cc_$2])
	AC_CACHE_CHECK([whether $CC takes $2], [cached],
		[dlock_saved_cflags=$CFLAGS
		CFLAGS="$CFLAGS -Werror $2"
		AC_LINK_IFELSE([AC_LANG_PROGRAM()], [AS_VAR_SET([cached], [yes])], [AS_VAR_SET([cached], [no])])
		CFLAGS=$dlock_saved_cflags])
	AS_VAR_IF([cached], [yes], [$1="$$1 $2"])
	AS_VAR_POPDEF([cached])])

# DLOCK_SANITIZE: --enable-sanitize=LIST, into SANITIZE_CFLAGS.
AC_DEFUN([DLOCK_SANITIZE],
	[AC_ARG_ENABLE([sanitize],
		[AS_HELP_STRING([--enable-sanitize=LIST],
			[build with these sanitizers: address,undefined or thread])],
		[], [enable_sanitize=no])
	SANITIZE_CFLAGS=
	AS_CASE([$enable_sanitize],
		[no], [],
		[yes], [enable_sanitize=address,undefined])
	AS_CASE([,$enable_sanitize,],
		[*,address,*thread,*|*,thread,*address,*],
		[AC_MSG_ERROR([--enable-sanitize=$enable_sanitize: address and thread exclude each other])])
	AS_IF([test "x$enable_sanitize" != xno],
		[dlock_saved_cflags=$CFLAGS
		SANITIZE_CFLAGS="-fsanitize=$enable_sanitize -fno-omit-frame-pointer"
		AS_CASE([,$enable_sanitize,], [*,undefined,*],
			[SANITIZE_CFLAGS="$SANITIZE_CFLAGS -fno-sanitize-recover=undefined"])
		CFLAGS="$CFLAGS $SANITIZE_CFLAGS"
		AC_MSG_CHECKING([whether $CC can sanitize with $enable_sanitize])
		AC_LINK_IFELSE([AC_LANG_PROGRAM()],
			[AC_MSG_RESULT([yes])],
			[AC_MSG_RESULT([no])
			AC_MSG_ERROR([--enable-sanitize=$enable_sanitize: $CC does not take that; accepted are address,undefined and thread])])
		CFLAGS=$dlock_saved_cflags])
	AC_SUBST([SANITIZE_CFLAGS])
	AM_CONDITIONAL([SANITIZE_THREAD],
		[AS_CASE([,$enable_sanitize,], [*,thread,*], [:], [false])])])

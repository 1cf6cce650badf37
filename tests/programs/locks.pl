#!/usr/bin/perl
# locks.pl KIND try|hold|count NAME [FOLDER TIMES] - locks of Perl; see locks.py.
#   nfslock   File::NFSLock: a link to a file of its own
#   simple    LockFile::Simple: open with O_EXCL, and the process id read again
#   simple-nfs  LockFile::Simple with -nfs: its name of its own, by link
#   flock     Perl's flock
use strict;
use warnings;
use Fcntl qw(:flock O_RDWR O_CREAT);
use Time::HiRes qw(sleep time);

my ($kind, $action, $name, $folder, $times) = @ARGV;
$| = 1;

my ($lock, $handle, $manager);

# Each: whether it was obtained, without waiting; dies of anything but "held".
my %try = (
	nfslock => sub {
		$lock = File::NFSLock->new($name, 'NONBLOCKING') and return 1;
		no warnings 'once';
		die "$File::NFSLock::errstr\n" unless $File::NFSLock::errstr =~ /^NONBLOCKING lock failed/;
		return 0;
	},
	simple => sub { $lock = $manager->trylock($name) },
	flock => sub {
		sysopen($handle, $name, O_RDWR | O_CREAT) or die "$name: $!\n";
		flock($handle, LOCK_EX | LOCK_NB) and return 1;
		die "flock $name: $!\n" unless $!{EWOULDBLOCK};
		return 0;
	},
);
my %give = (
	nfslock => sub { $lock->unlock; undef $lock },
	simple => sub { $lock->release or die "not released: $!\n" },
	flock => sub { flock($handle, LOCK_UN) or die "unlock $name: $!\n"; close $handle },
);

if ($kind eq 'nfslock') {
	require File::NFSLock;
} elsif ($kind =~ /^simple/) {
	require LockFile::Simple;
	# Without -stale it believes in no time and in no process id.
	$manager = LockFile::Simple->make(-max => 1, -delay => 1, -stale => 0, -hold => 0,
		-autoclean => 0, -wmin => 0, -wfunc => undef, -efunc => sub { warn "@_\n" },
		-nfs => $kind eq 'simple-nfs');
}
$kind =~ s/-.*//;

sub take {
	my $end = time + 60;
	# The kernel's own queue, where there is one.
	if ($kind eq 'flock') {
		sysopen($handle, $name, O_RDWR | O_CREAT) or die "$name: $!\n";
		flock($handle, LOCK_EX) or die "flock $name: $!\n";
		return;
	}
	until ($try{$kind}->()) {
		die "held\n" if time > $end;
		sleep 0.005;
	}
}

sub slurp {
	open(my $file, '<', $_[0]) or die "$_[0]: $!\n";
	my $line = <$file>;
	chomp $line;
	return $line;
}

sub spurt {
	open(my $file, '>', $_[0]) or die "$_[0]: $!\n";
	print $file "$_[1]\n";
	close $file or die "$_[0]: $!\n";
}

# As increment.sh: who is inside must be alone from the first line to the last.
sub increment {
	my $inside = slurp("$folder/inside");
	die "$inside is inside together with $$\n" if $inside ne '';
	spurt("$folder/inside", $$);
	my $number = slurp("$folder/counter");
	sleep 0.001;
	spurt("$folder/counter", $number + 1);
	$inside = slurp("$folder/inside");
	die "$inside came inside to $$\n" if $inside ne $$;
	spurt("$folder/inside", '');
}

if ($action eq 'try') {
	if (!$try{$kind}->()) {
		print "held\n";
		exit 1;
	}
	$give{$kind}->();
} elsif ($action eq 'hold') {
	take();
	print "held\n";
	my @all = <STDIN>;
	$give{$kind}->();
} else {
	for (1 .. $times) {
		take();
		increment();
		$give{$kind}->();
	}
}

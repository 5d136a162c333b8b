# Makes whoever opens its terminal wait: one process reads from the terminal into a page that nobody ever fills
# (userfaultfd) and so keeps the line discipline in use, the other asks for another line discipline over and over, which
# holds the terminal's lock until the reader is done. Needs one character of input; says "hung" when it is so.
# Argument: a character device like /dev/userfaultfd, open for the user.
use strict;
use warnings;
$SIG{HUP} = 'IGNORE';
$| = 1;
my $reader = $$;
if (!fork) {
    # Where the kernel keeps the reader.
    until (`cat /proc/$reader/wchan` eq 'handle_userfault') { select(undef, undef, undef, 0.02) }
    print "hung\n";
    my $n_tty = pack('i', 0);
    while (1) { syscall(16, 0, 0x5423, $n_tty) }    # ioctl(TIOCSETD)
}
sub must { my ($what, $result) = @_; die "$what: $!\n" if $result == -1; $result }
open(my $device, '+<', $ARGV[0]) or die "$ARGV[0]: $!\n";
my $faults = must('USERFAULTFD_IOC_NEW', syscall(16, fileno($device), 0xAA00, 0x80000));
my $api = pack('QQQ', 0xAA, 0, 0);
must('UFFDIO_API', syscall(16, $faults, 0xC018AA3F, $api));
# Private and anonymous, to be read and written.
my $page = must('mmap', syscall(9, 0, 4096, 3, 0x22, -1, 0));
my $missing = pack('QQQQ', $page, 4096, 1, 0);
must('UFFDIO_REGISTER', syscall(16, $faults, 0xC020AA00, $missing));
print "reading\n";
syscall(0, 0, $page + 0, 1);

#!/usr/bin/perl
# frames.pl: sends single frames, and says which ones come by. It knows nothing of nftables.
#
#   frames.pl send LINK NAME KIND [KEY=VALUE]...   one broadcast frame that carries NAME in its payload
#   frames.pl hear LINK READY                      makes READY, then prints the NAME of each frame until NAME is "last"
#
# KIND: arp, udp4, udp6, ra, redirect, na, dad, mld, mrd6, igmp, mrd4, big4, big6, cut6, other. KEY: to (destination MAC), mac, sha (of ARP), src, dst (of udp4, udp6, mld),
# target, about and mtu (of big4, big6, cut6), port, prefix (of ra, a /64), type (of igmp, mld), vlan, tpid (of the VLAN tag), inner (a second tag's VLAN). The defaults are LINK's own.
use strict;
use warnings;
use Socket;
use Time::HiRes;

my ($verb, $link, $name, $kind, @rest) = @ARGV;
socket(my $s, 17, SOCK_RAW, unpack 'n', pack 'S', 3) or die "socket: $!";
my ($index) = qx(ip -o link show dev $link) =~ /^(\d+)/;
bind $s, pack 'S n i S C C a8', 17, 3, $index, 0, 0, 0, '' or die "bind: $!";

if ($verb eq 'hear') {
    open my $f, '>', $name or die;
    close $f;
    alarm 120;
    while (sysread $s, my $frame, 4096) {
        next unless $frame =~ /probe:([a-z0-9-]+);/;
        exit if $1 eq 'last';
        print "$1\n";
    }
}

my %o = map { split /=/, $_, 2 } @rest;
my ($own) = qx(ip -o link show dev $link) =~ /link\/ether (\S+)/;
my $mac = pack 'H*', ($o{mac} // $own) =~ s/://gr;
my $mark = "probe:$name;";
my $option = pack('C C', 253, int((length($mark) + 9) / 8)) . $mark;        # of neighbour discovery, unknown to everybody
$option .= "\0" x (-length($option) % 8);
sub sum { my $n = 0; $n += $_ for unpack 'n*', $_[0] . "\0"; $n = ($n >> 16) + ($n & 0xffff) while $n >> 16; ~$n & 0xffff }
sub v4 { inet_aton $_[0] }
sub v6 { Socket::inet_pton(AF_INET6, $_[0]) }
# For addresses that receivers make by themselves (SLAAC).
my $prefix = exists $o{prefix} ? pack('C C C C N N N a16', 3, 4, 64, 0xc0, 3600, 3600, 0, v6($o{prefix})) : '';
sub ip4 {
    my ($src, $to, $body, $next) = @_;
    my $h = pack 'C C n n n C C n a4 a4', 0x45, 0, 20 + length $body, 1, 0, 64, $next // 17, 0, v4($src), v4($to);
    substr $h, 10, 2, pack 'n', sum($h);
    return (0x0800, $h . $body);
}
sub ip6 {
    my ($src, $to, $next, $at, $body, $options) = @_;         # options: a hop-by-hop header without its first byte
    substr $body, $at, 2, pack 'n', sum(v6($src) . v6($to) . pack('N N', length $body, $next) . $body);
    ($next, $body) = (0, chr($next) . $options . $body) if defined $options;
    return (0x86dd, pack('N n C C a16 a16', 6 << 28, length $body, $next, defined $options ? 1 : 255, v6($src), v6($to)) . $body);
}
sub igmp { my $b = pack('C C n N', $_[0], 10, 0, 0) . $_[1]; substr $b, 2, 2, pack 'n', sum($b); return $b }
my @more;               # packets that follow
my %kinds = (
    arp => sub { (0x0806, pack 'n n C C n a6 a4 a6 a4', 1, 0x0800, 6, 4, 1, $o{sha} ? pack('H*', $o{sha} =~ s/://gr) : $mac, v4($o{src}), '',
                          v4($o{target} // $o{src})) },
    udp4 => sub { ip4($o{src}, $o{dst} // '255.255.255.255', pack('n n n n', 4000, $o{port} // 4000, 8 + length $mark, 0) . $mark) },
    udp6 => sub { ip6($o{src}, $o{dst} // 'ff02::1', 17, 6, pack('n n n n', 4000, $o{port} // 4000, 8 + length $mark, 0) . $mark) },
    ra => sub { ip6($o{src} // 'fe80::bad', 'ff02::1', 58, 2, pack('C C n C C n N N', 134, 0, 0, 64, 0, 1800, 0, 0) . $prefix . $option) },
    redirect => sub { ip6('fe80::bad', 'ff02::1', 58, 2, pack('C C n N a16 a16', 137, 0, 0, 0, v6('fe80::bad'), v6('2001:db8::1')) . $option) },
    na => sub { ip6($o{src} // 'fe80::bad', 'ff02::1', 58, 2, pack('C C n N a16 C C a6', 136, 0, 0, 0x20000000, v6($o{target}), 2, 1, $mac) . $option) },
    dad => sub { ip6('::', 'ff02::1', 58, 2, pack('C C n N a16', 135, 0, 0, 0, v6($o{target})) . $option) },
    # Queries of MLDv2 and IGMPv3 without sources (RFC 3810, RFC 3376), MRD (RFC 4286). Other types are of the first version, where nothing may follow.
    mld => sub { my $t = $o{type} // 130;
                 ip6($o{src} // 'fe80::1', $o{dst} // 'ff02::1', 58, 2, pack('C C n n n a16', $t, 0, 0, 1000, 0, v6($o{target} // '::')) . ($t == 130 ? "\0\0\0\0$mark" : ''),
                     pack('C C C n C C', 0, 5, 2, 0, 1, 0)) },
    mrd6 => sub { ip6($o{src} // 'fe80::1', 'ff02::6a', 58, 2, pack('C C n n n', 151, 20, 0, 125, 2) . $mark) },
    igmp => sub { my $t = $o{type} // 0x11; ip4($o{src}, $o{dst} // '224.0.0.1', igmp($t, $t == 0x11 ? "\0\0\0\0$mark" : ''), 2) },
    mrd4 => sub { ip4($o{src}, '224.0.0.106', igmp(0x30, $mark), 2) },
    # "Too big", about a ping's packet that src is said to have forwarded from dst to `about` (RFC 1191, RFC 8201).
    big4 => sub { my (undef, $quoted) = ip4($o{dst}, $o{about}, pack('C C n n n', 0, 0, 0, 1, 1), 1);
                  my $b = pack('C C n n n', 3, 4, 0, 0, $o{mtu}) . $quoted . $mark; substr $b, 2, 2, pack 'n', sum($b);
                  ip4($o{src}, $o{dst}, $b, 1) },
    big6 => sub { my (undef, $quoted) = ip6($o{dst}, $o{about}, 58, 2, pack('C C n n n', 128, 0, 0, 1, 1));
                  ip6($o{src}, $o{dst}, 58, 2, pack('C C n N', 2, 0, 0, $o{mtu}) . $quoted . $mark) },
    # The same in two fragments, of which the first ends between two headers of destination options.
    cut6 => sub { my (undef, $quoted) = ip6($o{dst}, $o{about}, 58, 2, pack('C C n n n', 128, 0, 0, 1, 1));
                  my (undef, $whole) = ip6($o{src}, $o{dst}, 58, 2, pack('C C n N', 2, 0, 0, $o{mtu}) . $quoted . $mark);
                  my $part = sub { pack('N n C C a16 a16', 6 << 28, 8 + length $_[1], 44, 64, v6($o{src}), v6($o{dst})) . pack('C C n N', 60, 0, $_[0], 7) . $_[1] };
                  push @more, $part->(8, pack('C C C C N', 58, 0, 1, 4, 0) . substr $whole, 40);
                  (0x86dd, $part->(1, pack 'C C C C N', 60, 0, 1, 4, 0)) },
    other => sub { (0x88b5, '') },
);
my ($type, $packet) = $kinds{$kind}->();
my $tag = exists $o{vlan} ? pack 'n n', hex($o{tpid} // '8100'), $o{vlan} : '';
$tag .= pack 'n n', 0x8100, $o{inner} if exists $o{inner};
my $to = $o{to} ? pack 'H*', $o{to} =~ s/://gr : "\xff" x 6;
syswrite $s, $to . $mac . $tag . pack('n', $type) . $packet . ($packet =~ /\Q$mark/ ? '' : $mark) or die "send: $!";
for (@more) { syswrite $s, $to . $mac . $tag . pack('n', $type) . $_ or die "send: $!" }

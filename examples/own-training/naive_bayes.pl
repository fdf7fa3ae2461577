# Gaussian naive Bayes: perl naive_bayes.pl TRAIN.csv ASK.csv SAID.csv CLASSES
# TRAIN has the class number first, then the features; SAID gets one probability a class for each record of ASK.
use strict;
use warnings;

my ($train, $ask, $said, $classes) = @ARGV;
my (@n, @sum, @squares);
open my $in, '<', $train or die "$train: $!\n";
while (<$in>) {
    chomp;
    my ($class, @x) = split /,/;
    $n[$class]++;
    for my $j (0 .. $#x) {
        $sum[$class][$j] += $x[$j];
        $squares[$class][$j] += $x[$j]**2;
    }
}
close $in;

open $in, '<', $ask or die "$ask: $!\n";
open my $out, '>', $said or die "$said: $!\n";
while (<$in>) {
    chomp;
    my @x = split /,/;
    my @log;
    for my $class (0 .. $classes - 1) {
        next unless $n[$class];
        $log[$class] = log $n[$class];
        for my $j (0 .. $#x) {
            my $mean = $sum[$class][$j] / $n[$class];
            my $variance = $squares[$class][$j] / $n[$class] - $mean**2 + 1e-6 * ($mean**2 + 1);
            $log[$class] -= 0.5 * (log($variance) + ($x[$j] - $mean)**2 / $variance);
        }
    }
    my ($top) = sort { $b <=> $a } grep { defined } @log;
    my @p = map { defined $_ ? exp($_ - $top) : 0 } @log[0 .. $classes - 1];
    my $all = 0;
    $all += $_ for @p;
    print $out join(',', map { sprintf '%.9g', $_ / $all } @p), "\n";
}
close $out or die "$said: $!\n";

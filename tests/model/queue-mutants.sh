#!/bin/bash
# What the model of the queue must find when one rule is broken.
model=queue.pml
. "$(dirname "$0")/lib.sh"

two="-DATTEMPTS=2 -DPROPOSALS=2 -DTOP=3"
three="-DATTEMPTS=3 -DHELD -DPROPOSALS=1 -DTOP=3 -DFAULTS=1"
late="-DATTEMPTS=2 -DLATE -DPROPOSALS=1 -DTOP=4"
calm="-DCALM -DATTEMPTS=3 -DTOP=14"

# shellcheck disable=SC2086 # lists of flags
{
mutant FEWER_VOTES "exclusion order" "fewer than q grants suffice" $two
mutant MIXED "exclusion order" "grants of different fences are counted together" $two
mutant FROM_RECEIPT exclusion "a grant counts although its key has ended: it is counted from its receipt" $two
mutant STALE exclusion "a grant counts although an answer has told something later" $two
mutant UNANSWERED exclusion "a grant counts while a Y is unanswered" $two
mutant CLOSED_GRANT "single exclusion" "a grant for a closed attempt counts for the next one" -DATTEMPTS=3 -DAGAIN -DPROPOSALS=1 -DTOP=3 -DFAULTS=1
mutant OLD_EPOCH "exclusion order" "a grant of an old epoch counts" -DATTEMPTS=3 -DHELD -DPROPOSALS=3 -DTOP=3 -DFAULTS=0 -DYIELDS=0 -DLOSSES=1
mutant LOW_TOMBSTONE zombie "a tombstone is above the proposals, not above what was handed over" $late
mutant BARGES turn "a newcomer takes what is free before who waits longer" $calm -DHELD -DIN_TURN -DFAULTS=1
mutant PASSES_WRITER turn "a reader passes a writer that waits behind readers" $calm -DHELD -DIN_TURN -DSHARED=6 -DFAULTS=1
mutant KEEPS progress "nobody yields" $calm -DTOGETHER -DFAULTS=0
mutant YIELDS_TO_ANYBODY progress "what is yielded is handed to anybody, also while another has a majority" $calm -DTOGETHER -DFAULTS=0

# These are found so soon that it is not worth while to optimize.
direction="$direction -O0"
mutant UNRAISED order "a hand-over does not raise the fence" $two
mutant TAKEN "single exclusion" "a key that another has is handed over" $two
mutant STAYS zombie "a release does not leave the queue" $two
mutant WRITER_BESIDE "single exclusion" "a writer is handed what readers still have" $three -DSHARED=6
mutant QUARANTINED "single exclusion" "a master in quarantine hands over" $three -DYIELDS=0 -DLOSSES=1
mutant NO_TOMBSTONE zombie "a release leaves no tombstone" $late
mutant LATE_YIELD "single exclusion" "a master is counted while a Y of a connection that could not be killed may still come" $late
mutant NO_POLL progress "who waits for a lost grant does not ask" -DCALM -DATTEMPTS=2 -DFAULTS=1 -DTOP=14
}
end

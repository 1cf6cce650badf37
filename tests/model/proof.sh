#!/bin/bash
# The model of dlock_verify(): whoever is told that the lock was never lost has the newest fence, whatever became of its keys.
. "$(dirname "$0")/lib.sh"

configuration proof "the holder's keys may end at any time" -DWILD
probe proof PROVEN "a round proves that the lock was not lost"
probe proof UNPROVEN "another has taken a master from the holder"
probe proof PROMOTED "a repaired master counts again"
probe proof REPAIRED "a renewal repairs a master that lost the key"

# shellcheck disable=SC2034 # for mutant()
direction=
mutant REPAIR_PROVES proof "a repaired master vouches" -DWILD
mutant NO_DOUBT proof "an answer that was lost raises no doubt" -DWILD
mutant PROVEN_AT_ONCE proof "a repaired master vouches with its next answer" -DWILD
mutant PROMOTED_AT_ONCE proof "a round vouches for what was repaired in it" -DWILD
end

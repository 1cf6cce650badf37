#!/bin/bash
# What the model of exclusive locks must find when one rule is broken.
. "$(dirname "$0")/lib.sh"

mutant NO_TOMBSTONE zombie "a release leaves no tombstone" -DLATE
mutant UNGUARDED_REPAIR zombie "a late renewal may repair although a later attempt left its fence" -DLATE
mutant NO_EPOCH zombie "what was sent before a master forgot is executed after" -DLATE -DLOSSES=1
mutant NO_QUARANTINE "exclusion order" "a master that forgot votes at once" -DLOSSES=1
mutant QUARANTINE_IGNORED "exclusion order" "votes of a master in quarantine count" -DLOSSES=1
mutant NO_FLOOR order "after the quarantine any fence is accepted" -DLOSSES=1
mutant LOW_TOMBSTONE order "a tombstone takes the place of a higher floor" -DLOSSES=1 -DFIRST=2
mutant NO_DEADLINE exclusion "the deadline is not observed"
mutant REVIVED "exclusion order" "repair brings a lost lock back"
mutant MAXIMUM "exclusion order" "the highest of q different fences is claimed"
mutant FEWER_VOTES "exclusion order" "fewer than q votes suffice"
mutant TOKEN_REUSED "exclusion order" "the second attempt has the token of the first" -DFIRST=2
end

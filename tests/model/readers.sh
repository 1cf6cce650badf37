#!/bin/bash
# The model of shared locks: two readers, each of which may become the writer.
. "$(dirname "$0")/lib.sh"

configuration readers "two readers that convert" -DSHARED=3
probe readers READERS "two readers at once"
probe readers CONVERTED_UP "a reader becomes the writer in place"
probe readers CONVERTED_DOWN "and a reader again"
probe readers UNDONE "a conversion is undone"
probe readers FLOOR "a reader asks again for one fence everywhere"

mutant READERS_IGNORED exclusion "another reader does not hinder a conversion" -DSHARED=3
mutant SHARED_VOTES_KEPT exclusion "after a conversion votes count that are only shared" -DSHARED=3
end

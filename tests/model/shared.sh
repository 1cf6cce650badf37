#!/bin/bash
# The model of shared locks: a reader and a writer, both convert, and a master loses its memory.
. "$(dirname "$0")/lib.sh"

configuration shared "a reader and a writer, one memory is lost" -DSHARED=1 -DLOSSES=1
probe shared SUCCESSION "one client has the lock, then the other"
probe shared READERS "two readers at once, one of which was the writer"
probe shared CONVERTED_UP "a reader becomes the writer in place"
probe shared CONVERTED_DOWN "a writer becomes a reader in place"
probe shared UNDONE "a conversion is undone"
probe shared FLOOR "a reader asks again for one fence everywhere"
probe shared REPAIRED "a renewal repairs a master that lost the key"
probe shared VOTED_AGAIN "a master that forgot votes again for a lock that is to be"

mutant UNORDERED zombie "a release overtakes what was sent before" -DSHARED=1
mutant READ_UNSTORED order "a reader's fence is not stored" -DSHARED=1
end

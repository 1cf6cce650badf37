#!/bin/bash
# The model of exclusive locks: acquire, claim, renewal with repair, release with tombstone, masters that lose their memory.
. "$(dirname "$0")/lib.sh"

configuration late "requests of closed connections arrive late, two memories are lost" -DLATE -DLOSSES=2
probe late SUCCESSION "one client has the lock, then the other"
probe late OUTBID "a proposal is rejected, the next one wins"
probe late LOST "a holder loses the lock as its votes end"
probe late REPAIRED "a renewal repairs a master that lost the key"
probe late FORGOTTEN "a master forgets"
probe late VOTED_AGAIN "a master that forgot votes again for a lock that is to be"
probe late LATE "a request is executed after its attempt was closed"

configuration proposals "three proposals compete, one memory is lost" -DLOSSES=1 -DPROPOSALS=3
probe proposals SUCCESSION "one client has the lock, then the other"
probe proposals VOTED_AGAIN "a master that forgot votes again for a lock that is to be"

configuration again "a client comes twice" -DLATE -DFIRST=2
probe again SECOND_ATTEMPT "a client makes its second attempt"
probe again LATE "a request is executed after its attempt was closed"
end

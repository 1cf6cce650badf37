#!/bin/bash
# The model of the queue, what must never happen: clients do what they like, when they like.
model=queue.pml
. "$(dirname "$0")/lib.sh"

configuration two "two attempts, and only the numbers are bounded, and what is yielded" -DATTEMPTS=2 -DPROPOSALS=2 -DTOP=3
probe two GRANTED "a lock is claimed on grants alone"
probe two SUCCESSION "one has the lock, then the other"
probe two BARRED "who waits longer goes first"
probe two YIELDED "a vote is yielded, and passed on"
probe two RACED "an attempt ends while a grant is on its way to it"
probe two OFFER_ENDED "an offer ends before its grant arrives"
probe two REPAIRED "a renewal repairs a master that lost the key"
probe two LOST "a holder loses the lock as its votes end"

configuration three "two wait for a third, who has the lock; something ends twice before its time" \
	-DATTEMPTS=3 -DHELD -DPROPOSALS=1 -DTOP=3 -DFAULTS=2
probe three GRANTED "a lock is claimed on grants alone"
probe three YIELDED "a vote is yielded, and passed on"

configuration again "a client comes twice" -DATTEMPTS=3 -DAGAIN -DPROPOSALS=1 -DTOP=3 -DFAULTS=1
probe again SECOND_ATTEMPT "a client makes its second attempt"
probe again RACED "an attempt ends while a grant is on its way to it"

configuration late "requests of closed connections arrive late" -DATTEMPTS=2 -DLATE -DPROPOSALS=1 -DTOP=4
probe late GRANTED "a lock is claimed on grants alone"
end

"""checker_cases.py - small histories, and exactly what is wrong with each.

GOOD: (what it is, the lines). BAD: (what it is, the lines, what must be found, settings of the
checker). Times are in milliseconds here. `e` lines go to the file of their process, all others to
that of the director, where `end 1000` is added unless the lines have an `end` or say `no end`. What
must be found is a list of beginnings of violations, "kind: text": exactly these, and no other. The
bound is 200 ms; whoever waits for the name `turn` is served in turn, from 50 ms after a heal on, with a margin
of 10 ms. RAW: (what it is, the files with their text as it is, what must be found, how many
last lines are cut off), with times as they are.
"""

GOOD = [
    ("one after the other, touching", """
        e a 1 lock X n ok 2 0 1 101 -
        e a 1 unlock - n ok 2 5 6 - -
        e b 1 lock X n ok 4 2 5 105 -
        e b 1 close - n ok 4 9 10 - -
    """),
    ("readers together, two of them with one token", """
        e a 1 lock S n ok 3 0 1 101 -
        e b 1 lock S n ok 3 0 2 102 -
        e b 2 lock S n ok 5 3 4 104 -
        e a 1 unlock - n ok 3 50 51 - -
        e b 1 unlock - n ok 3 60 61 - -
        e b 2 unlock - n ok 5 40 41 - -
    """),
    ("two names have nothing to do with each other", """
        e a 1 lock X n ok 20 0 1 101 -
        e b 1 lock X m ok 2 2 3 103 -
        e a 1 unlock - n ok 20 50 51 - -
        e b 1 unlock - m ok 2 60 61 - -
    """),
    ("exclusive to shared: a reader beside it from the call on", """
        e a 1 lock X n ok 2 0 1 101 -
        e a 1 lock S n ok 3 10 20 120 -
        e b 1 lock S n ok 3 5 11 111 -
        e b 1 unlock - n ok 3 50 51 - -
        e a 1 unlock - n ok 3 50 51 - -
    """),
    ("shared to exclusive: another came between", """
        e a 1 lock S n ok 3 0 1 101 -
        e a 1 lock X n ok 6 10 40 140 -
        e b 1 lock X n ok 4 5 12 112 -
        e b 1 unlock - n ok 4 39 41 - -
        e a 1 unlock - n ok 6 50 51 - -
    """),
    ("shared to exclusive that was not to wait: the shared lock is kept beside a reader", """
        e a 1 lock S n ok 3 0 1 101 -
        e b 1 lock S n ok 3 0 1 101 -
        e a 1 lock X n EWOULDBLOCK - 10 11 - nb
        e a 1 verify - n ok 3 12 13 113 -
        e a 1 unlock - n ok 3 50 51 - -
        e b 1 unlock - n ok 3 50 51 - -
    """),
    ("shared to exclusive that timed out: it may have given the shared lock back", """
        e a 1 lock S n ok 3 0 1 101 -
        e a 1 lock X n ETIMEDOUT - 10 30 - 20
        e b 1 lock X n ok 4 9 12 112 -
        e b 1 unlock - n ok 4 40 41 - -
        e a 1 unlock - n ok - 50 51 - -
    """),
    ("shared to exclusive that was interrupted, and a new shared lock after it", """
        e a 1 lock S n ok 3 0 1 101 -
        e a 1 lock X n EINTR - 10 30 - -
        e b 1 lock X n ok 4 9 12 112 -
        e b 1 unlock - n ok 4 20 41 - -
        e a 1 lock S n ok 5 32 33 133 -
        e a 1 unlock - n ok 5 50 51 - -
    """),
    ("shared to exclusive that was interrupted, and verify proves that nothing was lost", """
        e a 1 lock S n ok 3 0 1 101 -
        e a 1 lock X n EINTR - 10 30 - -
        e a 1 verify - n ok 3 31 32 132 -
        e a 1 unlock - n ok 3 50 51 - -
        e b 1 lock X n ok 4 9 52 152 -
        e b 1 unlock - n ok 4 60 61 - -
    """),
    ("shared to exclusive whose lock was lost meanwhile", """
        e a 1 lock S n ok 3 0 1 101 -
        e a 1 lock X n ESTALE - 10 110 - -
        e b 1 lock X n ok 4 9 102 202 -
        e a 1 unlock - n ok - 120 121 - -
        e b 1 unlock - n ok 4 150 151 - -
    """),
    ("a killed holder has it until it was killed", """
        e a 1 lock X n ok 2 0 1 101 -
        k a 20 22
        e b 1 lock X n ok 4 2 20 120 -
        e b 1 unlock - n ok 4 30 31 - -
    """),
    ("a holder that was killed after its deadline", """
        e a 1 lock X n ok 2 0 1 101 -
        k a 200 201
        e b 1 lock X n ok 4 2 101 201 -
        e b 1 unlock - n ok 4 130 131 - -
    """),
    ("a killed process has taken its children along", """
        e a 1 lock X n ok 2 0 1 101 -
        e a.1 1 lock X m ok 2 0 1 101 -
        e a.1.22 1 lock X z ok 2 0 1 101 -
        k a 20 22
    """),
    ("a child that lives on counts no more", """
        e a.1 1 lock X n ok 2 0 1 101 -
        e a.1 1 renew - n ok 2 - 30 130 -
        e a.1 1 unlock - n ok 2 40 41 - -
        k a 20 22
        e b 1 lock X n ok 4 2 20 120 -
        e b 1 unlock - n ok 4 35 36 - -
    """),
    ("a deadline ends an interval before the unlock", """
        e a 1 lock X n ok 2 0 1 101 -
        e b 1 lock X n ok 4 2 101 201 -
        e b 1 unlock - n ok 4 130 131 - -
        e a 1 unlock - n ok 2 150 151 - -
    """),
    ("a renewed deadline, then its end", """
        e a 1 lock X n ok 2 0 1 101 -
        e a 1 renew - n ok 2 - 40 140 -
        e a 1 verify - n ok 2 50 51 151 -
        e b 1 lock X n ok 4 2 151 251 -
        e a 1 lost - n - - - 152 - -
        e b 1 unlock - n ok 4 160 161 - -
        e a 1 unlock - n ok - 170 171 - -
    """),
    ("killed while it gave back: what begun is written down", """
        e a 1 lock X n ok 2 0 1 101 -
        e a 1 unlock - n - 2 10 - - -
        k a 20 21
        e b 1 lock X n ok 4 2 11 111 -
        e b 1 unlock - n ok 4 30 31 - -
    """),
    ("killed while it closed", """
        e a 1 lock X n ok 2 0 1 101 -
        e a 1 close - n - 2 10 - - -
        k a 20 21
        e b 1 lock X n ok 4 2 11 111 -
        e b 1 unlock - n ok 4 30 31 - -
    """),
    ("killed while it converted to shared: a reader beside it, a writer when it is dead", """
        e a 1 lock X n ok 2 0 1 101 -
        e a 1 lock S n - - 10 - - -
        k a 20 21
        e b 1 lock S n ok 3 2 11 111 -
        e b 1 unlock - n ok 3 13 14 - -
        e c 1 lock X n ok 4 2 22 122 -
        e c 1 unlock - n ok 4 30 31 - -
    """),
    ("killed while it converted to exclusive: the shared lock may be gone", """
        e a 1 lock S n ok 3 0 1 101 -
        e a 1 lock X n - - 10 - - -
        k a 20 21
        e b 1 lock X n ok 4 2 11 111 -
        e b 1 unlock - n ok 4 30 31 - -
    """),
    ("calls whose beginning is written down, too", """
        e a 1 lock X n - - 0 - - -
        e a 1 lock X n ok 2 0 1 101 -
        e a 1 verify - n - 2 2 - - -
        e a 1 verify - n ok 2 2 3 103 -
        e a 1 unlock - n - 2 5 - - -
        e a 1 unlock - n ok 2 5 6 - -
        e b 1 lock X n ok 4 2 5 105 -
        e b 1 unlock - n ok 4 9 10 - -
    """),
    ("a holder that is told no deadline vouches for single moments", """
        e a 1 lock X n ok 2 0 1 1.000001 -
        e a 1 renew - n ok 2 - 10.1 10 -
        e a 1 renew - n ok 2 - 20.1 20 -
        e b 1 lock X n ok 4 2 20 20.000001 -
        e a 1 lost - n - - - 25 - -
        e b 1 unlock - n ok 4 30 31 - -
    """),
    ("verify finds no proof, and the lock is there", """
        e a 1 lock X n ok 2 0 1 101 -
        e a 1 verify - n ESTALE - 10 20 - -
        e a 1 renew - n ok 2 - 25 125 -
        e a 1 unlock - n ok 2 30 31 - -
        e b 1 lock X n ok 4 2 30 130 -
        e b 1 verify - n ESTALE - 40 41 - -
        e b 1 lock X n ok 4 42 43 143 -
        e b 1 unlock - n ok 4 50 51 - -
    """),
    ("verify finds no proof, and the lock is gone", """
        e a 1 lock X n ok 2 0 1 101 -
        e a 1 verify - n ESTALE - 10 20 - -
        e b 1 lock X n ok 4 2 20 130 -
        e a 1 lost - n - - - 21 - -
        e b 1 unlock - n ok 4 50 51 - -
    """),
    ("calls that do not block", """
        e a 1 lock X n EINPROGRESS - 0 1 - -
        e a 1 close - n ok - 2 3 - -
        e b 1 lock S n ok 3 4 5 105 -
        e b 1 verify - n EINPROGRESS - 6 7 - -
        e b 1 verify - n EALREADY - 7 8 - -
        e b 1 unlock - n EINPROGRESS - 10 20 - -
        e b 1 close - n ok - 21 22 - -
        e c 1 lock X n ok 4 4 11 111 -
        e c 1 unlock - n ok 4 30 31 - -
    """),
    ("the number of a descriptor that is being closed is another thread's already", """
        e a 1 lock X n ok 2 0 1 101 -
        e a 1 close - n ok 2 5 9 - -
        e a 1 lock X n ok 4 6 7 107 -
        e a 1 verify - n ok 4 7 8 107 -
        e b 1 lock X n ok 6 2 30 130 -
        e a 1 unlock - n ok 4 30 31 - -
        e b 1 unlock - n ok 6 40 41 - -
    """),
    ("a lock call in the mode that is held", """
        e a 1 lock X n ok 2 0 1 101 -
        e a 1 lock X n ok 2 10 11 140 -
        e a 1 unlock - n ok 2 50 51 - -
    """),
    ("lost, cleared by unlock, taken anew", """
        e a 1 lock X n ok 2 0 1 101 -
        e a 1 lost - n - 2 - 50 - -
        e a 1 lock X n ESTALE - 60 61 - -
        e a 1 verify - n ESTALE - 62 63 - -
        e a 1 unlock - n ok - 70 71 - -
        e b 1 lock X n ok 4 55 56 156 -
        e b 1 unlock - n ok 4 72 73 - -
        e a 1 lock X n ok 6 74 75 175 -
        e a 1 unlock - n ok 6 80 81 - -
    """),
    ("a number is used again for another name, after a close", """
        e a 1 lock X n ok 2 0 1 101 -
        e a 1 close - n ok 2 5 6 - -
        e a 1 lock X m ok 2 7 8 108 -
        e a 1 close - m ok 2 9 10 - -
    """),
    ("a wait that a close in another thread has ended", """
        e b 1 lock X n ok 2 0 1 101 -
        e a 1 lock X n EBADF - 2 8 - -
        e a 1 close - n ok - 5 9 - -
        e b 1 unlock - n ok 2 20 21 - -
    """),
    ("a conversion that a close in another thread has ended", """
        e a 1 lock S n ok 3 0 1 101 -
        e a 1 lock X n EBADF - 2 10 - -
        e a 1 close - n ok - 5 9 - -
        e b 1 lock X n ok 4 1 3 103 -
        e b 1 unlock - n ok 4 20 21 - -
    """),
    ("an unlock without a lock", """
        e a 1 unlock - n ok - 0 1 - -
        e a 1 lock X n ok 2 2 3 103 -
        e a 1 unlock - n ok 2 10 11 - -
    """),
    ("in turn", """
        heal 100
        e h 1 lock X turn ok 2 155 156 600 -
        e h 1 unlock - turn ok 2 200 201 - -
        e a 1 lock X turn ok 4 160 202 600 -
        e a 1 unlock - turn ok 4 203 204 - -
        e b 1 lock X turn ok 6 180 205 600 -
        e b 1 unlock - turn ok 6 206 207 - -
    """),
    ("served before one who had asked earlier by no more than the margin", """
        heal 100
        e h 1 lock X turn ok 2 155 156 600 -
        e h 1 unlock - turn ok 2 200 201 - -
        e b 1 lock X turn ok 4 170 202 600 -
        e b 1 unlock - turn ok 4 203 204 - -
        e a 1 lock X turn ok 6 160 205 600 -
        e a 1 unlock - turn ok 6 206 207 - -
    """),
    ("served before one who had asked earlier, by a name of which no order is judged", """
        heal 100
        e b 1 lock X n ok 4 180 202 600 -
        e b 1 unlock - n ok 4 203 204 - -
        e a 1 lock X n ok 6 160 205 600 -
        e a 1 unlock - n ok 6 206 207 - -
    """),
    ("served before one who had asked earlier, with a fault meanwhile", """
        heal 100
        e h 1 lock X turn ok 2 155 156 600 -
        e h 1 unlock - turn ok 2 200 201 - -
        f 170 begin cut m1
        f 190 end cut m1
        e b 1 lock X turn ok 4 180 202 600 -
        e b 1 unlock - turn ok 4 203 204 - -
        e a 1 lock X turn ok 6 160 205 600 -
        e a 1 unlock - turn ok 6 206 207 - -
    """),
    ("served before one who had asked earlier, when a fault had begun before that", """
        f 90 begin stop a
        e b 1 lock X turn ok 4 30 102 600 -
        e b 1 unlock - turn ok 4 103 104 - -
        e a 1 lock X turn ok 6 10 105 600 -
        e a 1 unlock - turn ok 6 106 107 - -
        heal 120
    """),
    ("served before one who had asked when all faults had only just been taken back", """
        heal 100
        e h 1 lock X turn ok 2 155 156 600 -
        e h 1 unlock - turn ok 2 200 201 - -
        e b 1 lock X turn ok 4 180 202 600 -
        e b 1 unlock - turn ok 4 203 204 - -
        e a 1 lock X turn ok 6 149 205 600 -
        e a 1 unlock - turn ok 6 206 207 - -
    """),
    ("served before one whose ticket may be that of a clock that was ahead", """
        ahead 90 165
        heal 100
        e h 1 lock X turn ok 2 155 156 600 -
        e h 1 unlock - turn ok 2 200 201 - -
        e b 1 lock X turn ok 4 180 202 600 -
        e b 1 unlock - turn ok 4 203 204 - -
        e a 1 lock X turn ok 6 160 205 600 -
        e a 1 unlock - turn ok 6 206 207 - -
    """),
    ("served before one whose process did not run", """
        heal 100
        e h 1 lock X turn ok 2 155 156 600 -
        e h 1 unlock - turn ok 2 200 201 - -
        late a 150 161
        e b 1 lock X turn ok 4 180 202 600 -
        e b 1 unlock - turn ok 4 203 204 - -
        e a 1 lock X turn ok 6 160 205 600 -
        e a 1 unlock - turn ok 6 206 207 - -
    """),
    ("readers are let in together, in any order", """
        heal 100
        e h 1 lock X turn ok 2 155 156 600 -
        e h 1 unlock - turn ok 2 200 201 - -
        e b 1 lock S turn ok 3 180 202 600 -
        e b 1 unlock - turn ok 3 203 210 - -
        e a 1 lock S turn ok 3 160 205 600 -
        e a 1 unlock - turn ok 3 206 207 - -
    """),
    ("served before one who had asked earlier, and gave up", """
        heal 100
        e h 1 lock X turn ok 2 155 156 600 -
        e h 1 unlock - turn ok 2 200 201 - -
        e b 1 lock X turn ok 4 180 202 600 -
        e b 1 unlock - turn ok 4 203 204 - -
        e a 1 lock X turn EINTR - 160 211 - -
    """),
    ("served before one who had asked earlier, and was killed then", """
        heal 100
        e h 1 lock X turn ok 2 155 156 600 -
        e h 1 unlock - turn ok 2 200 201 - -
        e b 1 lock X turn ok 4 180 202 600 -
        e b 1 unlock - turn ok 4 203 204 - -
        e a 1 lock X turn - - 160 - - -
        k a 211 212
    """),
    ("served before one who had asked earlier, but was not to wait so long", """
        heal 100
        e h 1 lock X turn ok 2 155 156 600 -
        e h 1 unlock - turn ok 2 200 201 - -
        e b 1 lock X turn ok 4 180 202 600 -
        e b 1 unlock - turn ok 4 203 204 - -
        e a 1 lock X turn ETIMEDOUT - 160 260 - 100
    """),
    ("granted in time, heard of too late, since the process was stopped", """
        f 2 stop a
        e a 1 lock X n ok 2 0 300 101 -
        e b 1 lock X n ok 4 150 151 251 -
        e b 1 unlock - n ok 4 160 161 - -
        e a 1 unlock - n ok 2 310 311 - -
    """),
    ("the same of a process that is named by its first part", """
        f 2 stop a
        e a.3 1 lock X n ok 2 0 300 101 -
        e a.3 1 unlock - n ok 2 310 311 - -
    """),
    ("a dead process tells something", """
        e a 1 lock X n EINTR - 0 5 - -
        k a 2 4
    """),
    ("a register from holder to holder, and its readers", """
        e a 1 lock X n ok 2 0 1 101 -
        e a 1 read - n ok 2 2 3 - 0
        e a 1 write - n ok 2 4 5 - 1
        e a 1 write - n ok 2 5 6 - 2
        e a 1 unlock - n ok 2 10 11 - -
        e b 1 lock S n ok 3 12 13 113 -
        e b 1 read - n ok 3 14 15 - 2
        e c 1 lock S n ok 3 12 13 113 -
        e c 1 read - n ok 3 14 15 - 2
        e b 1 unlock - n ok 3 16 17 - -
        e c 1 unlock - n ok 3 16 17 - -
        e b 1 lock X n ok 4 18 19 119 -
        e b 1 read - n ok 4 20 21 - 2
        e b 1 write - n ok 4 22 23 - 3
        e b 1 unlock - n ok 4 30 31 - -
    """),
    ("a late write that the register refuses, and one that nobody has overtaken", """
        e a 1 lock X n ok 2 0 1 101 -
        e a 1 read - n ok 2 2 3 - 7
        e a 1 write - n ok 2 120 121 - 8
        e b 1 lock X n ok 4 130 131 231 -
        e b 1 read - n ok 4 132 133 - 8
        e b 1 write - n ok 4 134 135 - 9
        e a 1 write - n ESTALE 2 140 141 - 9
        e a 1 unlock - n ok 2 150 151 - -
        e b 1 unlock - n ok 4 150 151 - -
    """),
    ("two that use the register at a time: the older may have been first", """
        e a 1 lock X n ok 2 0 1 101 -
        e b 1 lock X n ok 4 130 131 231 -
        e a 1 read - n ok 2 132 135 - 7
        e b 1 read - n ok 4 133 134 - 7
        e a 1 unlock - n ok 2 150 151 - -
        e b 1 unlock - n ok 4 150 151 - -
    """),
    ("what a killed holder wrote last may not be told", """
        e a 1 lock X n ok 2 0 1 101 -
        e a 1 read - n ok 2 2 3 - 7
        k a 20 21
        e b 1 lock X n ok 4 130 131 231 -
        e b 1 read - n ok 4 132 133 - 8
        e b 1 write - n ok 4 134 135 - 9
        e b 1 unlock - n ok 4 150 151 - -
    """),
    ("waiters are served, or did not mean to wait", """
        f 10 cut m1
        heal 100
        e a 1 lock X n ok 4 5 200 900 -
        e b 1 lock X n ETIMEDOUT - 50 650 - 600
        e c 1 lock X n EINTR - 50 650 - -
        e d 1 lock X n EWOULDBLOCK - 650 651 - nb
        e f 1 lock X n ENOLCK - 650 651 - nb
        e g 1 lock X n ENOLCK - 650 651 - 20
        e h 1 lock X n ENOLCK - 5 299 - -
        e i 1 lock X n ok 2 5 50 290 -
        e i 1 unlock - n ok 2 52 53 - -
        e j 1 lock X m ok 4 101 300 990 -
        e j 1 unlock - m ok 4 352 353 - -
        e a 1 unlock - n ok 4 700 701 - -
        end 1000
    """),
    ("no time to serve a waiter before the next fault", """
        f 10 cut m1
        heal 100
        f 250 cut m1
        e a 1 lock X n ok 2 120 600 900 -
        e a 1 unlock - n ok 2 700 701 - -
        e b 1 lock X m ENOLCK - 120 600 - -
        end 1000
    """),
    ("killed before it would have to be served", """
        f 10 cut m1
        heal 100
        e a 1 lock X n - - 5 - - -
        k a 290 295
        e b 1 lock X n ok 2 800 810 900 -
        e b 1 unlock - n ok 2 820 821 - -
    """),
]

BAD = [
    # Exclusion.
    ("two exclusive locks", """
        e a 1 lock X n ok 2 0 1 101 -
        e b 1 lock X n ok 4 2 9 109 -
        e a 1 unlock - n ok 2 10 11 - -
        e b 1 unlock - n ok 4 12 13 - -
    """, ["exclusion: two exclusive locks of n at the same time, for 1.000 ms"]),
    ("two exclusive locks of one process", """
        e a 1 lock X n ok 2 0 1 101 -
        e a 2 lock X n ok 4 2 9 109 -
        e a 1 unlock - n ok 2 10 11 - -
        e a 2 unlock - n ok 4 12 13 - -
    """, ["exclusion: two exclusive locks"]),
    ("a reader beside a writer", """
        e a 1 lock X n ok 2 0 1 101 -
        e b 1 lock S n ok 3 2 9 109 -
        e a 1 unlock - n ok 2 10 11 - -
        e b 1 unlock - n ok 3 12 13 - -
    """, ["exclusion: a shared and an exclusive lock of n"]),
    ("a writer beside a reader", """
        e a 1 lock S n ok 3 0 1 101 -
        e b 1 lock X n ok 4 2 9 109 -
        e a 1 unlock - n ok 3 10 11 - -
        e b 1 unlock - n ok 4 12 13 - -
    """, ["exclusion: a shared and an exclusive lock of n"]),
    ("a writer beside a reader that began long ago, with a short one since", """
        e a 1 lock S n ok 3 0 1 901 -
        e c 1 lock S n ok 3 2 3 103 -
        e c 1 unlock - n ok 3 4 5 - -
        e b 1 lock X n ok 4 6 9 109 -
        e b 1 unlock - n ok 4 12 13 - -
        e a 1 unlock - n ok 3 20 21 - -
    """, ["exclusion: a shared and an exclusive lock of n"]),
    ("exclusive to shared: a writer before the call", """
        e a 1 lock X n ok 2 0 1 101 -
        e b 1 lock X n ok 4 5 6 106 -
        e b 1 unlock - n ok 4 8 9 - -
        e a 1 lock S n ok 3 10 20 120 -
        e a 1 unlock - n ok 3 50 51 - -
    """, ["exclusion: two exclusive locks", "tokens: the token of a shared grant of n is not above"]),
    ("exclusive to shared: a writer between call and return", """
        e a 1 lock X n ok 2 0 1 101 -
        e a 1 lock S n ok 3 10 20 120 -
        e b 1 lock X n ok 4 5 12 112 -
        e b 1 unlock - n ok 4 15 16 - -
        e a 1 unlock - n ok 3 50 51 - -
    """, ["exclusion: a shared and an exclusive lock"]),
    ("shared to exclusive: a reader is still there", """
        e a 1 lock S n ok 3 0 1 101 -
        e b 1 lock S n ok 3 0 1 101 -
        e a 1 lock X n ok 4 10 12 112 -
        e a 1 unlock - n ok 4 20 21 - -
        e b 1 unlock - n ok 3 30 31 - -
    """, ["exclusion: a shared and an exclusive lock"]),
    ("shared to exclusive that was not to wait, and a writer beside what is kept", """
        e a 1 lock S n ok 3 0 1 101 -
        e a 1 lock X n EWOULDBLOCK - 10 11 - nb
        e b 1 lock X n ok 4 9 12 112 -
        e b 1 unlock - n ok 4 20 21 - -
        e a 1 unlock - n ok 3 50 51 - -
    """, ["exclusion: a shared and an exclusive lock"]),
    ("shared to exclusive that timed out, a writer before the call", """
        e a 1 lock S n ok 3 0 1 101 -
        e b 1 lock X n ok 4 4 5 112 -
        e b 1 unlock - n ok 4 8 9 - -
        e a 1 lock X n ETIMEDOUT - 7 30 - 20
        e a 1 unlock - n ok - 50 51 - -
    """, ["exclusion: a shared and an exclusive lock of n at the same time, for 2.000 ms"]),
    ("a writer beside a shared lock that verify has proven to be without a gap", """
        e a 1 lock S n ok 3 0 1 101 -
        e a 1 lock X n EINTR - 10 30 - -
        e b 1 lock X n ok 4 9 12 112 -
        e b 1 unlock - n ok 4 20 21 - -
        e a 1 verify - n ok 3 31 32 132 -
        e a 1 unlock - n ok 3 50 51 - -
    """, ["exclusion: a shared and an exclusive lock"]),
    ("a writer within a renewed lease", """
        e a 1 lock X n ok 2 0 1 101 -
        e a 1 renew - n ok 2 - 40 140 -
        e b 1 lock X n ok 4 2 120 220 -
        e a 1 unlock - n ok 2 130 131 - -
        e b 1 unlock - n ok 4 150 151 - -
    """, ["exclusion: two exclusive locks"]),
    ("a writer within a lease that verify has extended", """
        e a 1 lock X n ok 2 0 1 101 -
        e a 1 verify - n ok 2 39 40 140 -
        e b 1 lock X n ok 4 2 120 220 -
        e a 1 unlock - n ok 2 130 131 - -
        e b 1 unlock - n ok 4 150 151 - -
    """, ["exclusion: two exclusive locks"]),
    ("a writer within a lease that a second lock call has extended", """
        e a 1 lock X n ok 2 0 1 101 -
        e a 1 lock X n ok 2 39 40 140 -
        e b 1 lock X n ok 4 2 120 220 -
        e a 1 unlock - n ok 2 130 131 - -
        e b 1 unlock - n ok 4 150 151 - -
    """, ["exclusion: two exclusive locks"]),
    ("a lease that came back to life: a lock that was lost stays lost", """
        e a 1 lock X n ok 2 0 1 101 -
        e b 1 lock X n ok 4 110 111 211 -
        e b 1 unlock - n ok 4 120 121 - -
        e a 1 renew - n ok 2 - 130 230 -
        e a 1 unlock - n ok 2 150 151 - -
    """, ["exclusion: two exclusive locks"]),
    ("a writer before a killed one was killed", """
        e a 1 lock X n ok 2 0 1 101 -
        k a 20 22
        e b 1 lock X n ok 4 2 19 119 -
        e b 1 unlock - n ok 4 30 31 - -
    """, ["exclusion: two exclusive locks of n at the same time, for 1.000 ms"]),
    ("a writer beside one that was killed while it verified", """
        e a 1 lock X n ok 2 0 1 101 -
        e a 1 verify - n - - 10 - - -
        k a 20 22
        e b 1 lock X n ok 4 2 19 120 -
        e b 1 unlock - n ok 4 30 31 - -
    """, ["exclusion: two exclusive locks of n at the same time, for 1.000 ms"]),
    ("a writer before a child's parent was killed", """
        e a.1 1 lock X n ok 2 0 1 101 -
        e a.1 1 unlock - n ok 2 40 41 - -
        k a 20 22
        e b 1 lock X n ok 4 2 19 120 -
        e b 1 unlock - n ok 4 35 36 - -
    """, ["exclusion: two exclusive locks of n at the same time, for 1.000 ms"]),
    ("somebody else's kill", """
        e a 1 lock X n ok 2 0 1 101 -
        e ab 1 lock X m ok 2 0 1 101 -
        e ab.1 1 lock X z ok 2 0 1 101 -
        k a 20 22
    """, ["ended: the lock was never given back", "ended: the lock was never given back"]),
    ("a writer beside one that verify found no proof of, and that was there", """
        e a 1 lock X n ok 2 0 1 101 -
        e a 1 verify - n ESTALE - 10 20 - -
        e b 1 lock X n ok 4 2 22 130 -
        e a 1 renew - n ok 2 - 25 125 -
        e a 1 unlock - n ok 2 30 31 - -
        e b 1 unlock - n ok 4 50 51 - -
    """, ["exclusion: two exclusive locks of n at the same time, for 8.000 ms"]),
    ("a writer beside one that vouches for single moments", """
        e a 1 lock X n ok 2 0 1 1.000001 -
        e a 1 renew - n ok 2 - 20.1 20 -
        e b 1 lock X n ok 4 2 19 130 -
        e b 1 unlock - n ok 4 50 51 - -
        e a 1 unlock - n ok - 60 61 - -
    """, ["exclusion: two exclusive locks of n at the same time, for 1.000 ms"]),
    ("a writer beside who has the number of a descriptor that is being closed", """
        e a 1 lock X n ok 2 0 1 101 -
        e a 1 close - n ok 2 5 9 - -
        e a 1 lock X n ok 4 6 7 107 -
        e b 1 lock X n ok 6 2 8 130 -
        e a 1 unlock - n ok 4 30 31 - -
        e b 1 unlock - n ok 6 40 41 - -
    """, ["exclusion: two exclusive locks of n at the same time, for 22.000 ms"]),
    ("a writer before the call of an unlock that does not block", """
        e a 1 lock X n ok 2 0 1 101 -
        e a 1 unlock - n EINPROGRESS - 10 20 - -
        e a 1 close - n ok - 21 22 - -
        e b 1 lock X n ok 4 2 9 130 -
        e b 1 unlock - n ok 4 40 41 - -
    """, ["exclusion: two exclusive locks of n at the same time, for 1.000 ms"]),
    ("a writer before the unlock call of a killed one", """
        e a 1 lock X n ok 2 0 1 101 -
        e a 1 unlock - n - 2 10 - - -
        k a 20 21
        e b 1 lock X n ok 4 2 8 111 -
        e b 1 unlock - n ok 4 30 31 - -
    """, ["exclusion: two exclusive locks of n at the same time, for 2.000 ms"]),
    ("a writer beside one that was killed while it converted to shared", """
        e a 1 lock X n ok 2 0 1 101 -
        e a 1 lock S n - - 10 - - -
        k a 20 21
        e b 1 lock X n ok 4 2 15 115 -
        e b 1 unlock - n ok 4 30 31 - -
    """, ["exclusion: a shared and an exclusive lock of n at the same time, for 5.000 ms"]),
    ("a writer before the loss was told", """
        e a 1 lock X n ok 2 0 1 101 -
        e a 1 lost - n - 2 - 50 - -
        e b 1 lock X n ok 4 2 45 145 -
        e a 1 close - n ok - 70 71 - -
        e b 1 unlock - n ok 4 72 73 - -
    """, ["exclusion: two exclusive locks of n at the same time, for 5.000 ms"]),
    ("a writer before the close", """
        e a 1 lock X n ok 2 0 1 101 -
        e a 1 close - n ok 2 10 11 - -
        e b 1 lock X n ok 4 2 9 109 -
        e b 1 unlock - n ok 4 12 13 - -
    """, ["exclusion: two exclusive locks"]),
    ("one of three beside the first", """
        e a 1 lock X n ok 2 0 1 901 -
        e b 1 lock X n ok 4 2 3 103 -
        e b 1 unlock - n ok 4 4 5 - -
        e c 1 lock X n ok 6 6 7 107 -
        e c 1 unlock - n ok 6 8 9 - -
        e a 1 unlock - n ok 2 10 11 - -
    """, ["exclusion: two exclusive locks", "exclusion: two exclusive locks"]),

    # Tokens.
    ("one token twice", """
        e a 1 lock X n ok 2 0 1 101 -
        e a 1 unlock - n ok 2 5 6 - -
        e b 1 lock X n ok 2 7 8 108 -
        e b 1 unlock - n ok 2 9 10 - -
    """, ["tokens: two exclusive grants of n have the same token"]),
    ("a smaller token for who came later", """
        e a 1 lock X n ok 4 0 1 101 -
        e a 1 unlock - n ok 4 5 6 - -
        e b 1 lock X n ok 2 7 8 108 -
        e b 1 unlock - n ok 2 9 10 - -
    """, ["tokens: the token of an exclusive grant of n is not above that of an exclusive one that was granted before"]),
    ("a smaller token than an earlier one, not the last", """
        e a 1 lock X n ok 8 0 1 101 -
        e a 1 unlock - n ok 8 2 3 - -
        e b 1 lock X n ok 10 2 3 103 -
        e b 1 unlock - n ok 10 4 5 - -
        e a 1 lock X n ok 6 6 7 107 -
        e a 1 unlock - n ok 6 8 9 - -
    """, ["tokens: the token of an exclusive grant of n is not above that of an exclusive one that was granted before"]),
    ("a smaller token than one that another, smaller one came after", """
        f 0 stop a
        f 0 stop b
        e a 1 lock X n ok 10 1 2 1.5 -
        e a 1 unlock - n ok 10 3 4 - -
        e b 1 lock X n ok 4 2 5 4.5 -
        e b 1 unlock - n ok 4 6 7 - -
        e c 1 lock X n ok 6 8 9 109 -
        e c 1 unlock - n ok 6 10 11 - -
    """, ["tokens: the token of an exclusive grant of n is not above that of an exclusive one that was granted before"]),
    ("a smaller token for who waited", """
        e a 1 lock X n ok 4 1 2 102 -
        e b 1 lock X n ok 2 0 8 108 -
        e a 1 unlock - n ok 4 5 6 - -
        e b 1 unlock - n ok 2 9 10 - -
    """, ["tokens: the token of an exclusive grant of n is not above that of an exclusive one that was held before"]),
    ("a smaller token where both deadlines had passed", """
        f 0 stop a
        f 0 stop b
        e a 1 lock X n ok 4 1 20 10 -
        e a 1 unlock - n ok 4 25 26 - -
        e b 1 lock X n ok 2 30 50 40 -
        e b 1 unlock - n ok 2 55 56 - -
    """, ["tokens: the token of an exclusive grant of n is not above that of an exclusive one that was granted before"]),
    ("an odd token of an exclusive lock", """
        e a 1 lock X n ok 3 0 1 101 -
        e a 1 unlock - n ok 3 5 6 - -
    """, ["tokens: the token of an exclusive lock is odd"]),
    ("an even token of a shared lock", """
        e a 1 lock S n ok 4 0 1 101 -
        e a 1 unlock - n ok 4 5 6 - -
    """, ["tokens: the token of a shared lock is even"]),
    ("a reader's token below that of the writer before", """
        e a 1 lock X n ok 4 0 1 101 -
        e a 1 unlock - n ok 4 5 6 - -
        e b 1 lock S n ok 3 7 8 108 -
        e b 1 unlock - n ok 3 9 10 - -
    """, ["tokens: the token of a shared grant of n is not above that of an exclusive one that was granted before"]),
    ("a waiting reader's token below that of the writer before", """
        e a 1 lock X n ok 4 0 1 101 -
        e b 1 lock S n ok 3 0 8 108 -
        e a 1 unlock - n ok 4 5 6 - -
        e b 1 unlock - n ok 3 9 10 - -
    """, ["tokens: the token of a shared grant of n is not above that of an exclusive one that was held before"]),
    ("a writer's token below that of the reader before", """
        e a 1 lock S n ok 5 0 1 101 -
        e a 1 unlock - n ok 5 5 6 - -
        e b 1 lock X n ok 4 7 8 108 -
        e b 1 unlock - n ok 4 9 10 - -
    """, ["tokens: the token of an exclusive grant of n is not above that of a shared one that was granted before"]),
    ("another token in verify", """
        e a 1 lock X n ok 2 0 1 101 -
        e a 1 verify - n ok 4 2 3 103 -
        e a 1 unlock - n ok 2 5 6 - -
    """, ["tokens: the token changed while the lock was held"]),
    ("another token in a renewal", """
        e a 1 lock S n ok 3 0 1 101 -
        e a 1 renew - n ok 5 - 3 103 -
        e a 1 unlock - n ok 3 5 6 - -
    """, ["tokens: the token changed while the lock was held"]),
    ("another token in the mode that was held", """
        e a 1 lock X n ok 2 0 1 101 -
        e a 1 lock X n ok 4 2 3 103 -
        e a 1 unlock - n ok 2 5 6 - -
    """, ["tokens: the token changed while the lock was held"]),

    # The register.
    ("an accepted write is lost: the next reads what was before it", """
        e a 1 lock X n ok 2 0 1 101 -
        e a 1 read - n ok 2 2 3 - 0
        e a 1 write - n ok 2 4 5 - 1
        e a 1 unlock - n ok 2 10 11 - -
        e b 1 lock X n ok 4 18 19 119 -
        e b 1 read - n ok 4 20 21 - 0
        e b 1 write - n ok 4 22 23 - 1
        e b 1 unlock - n ok 4 30 31 - -
    """, ["register: read 0 where 1 was there: an accepted write is lost"]),
    ("an accepted write is lost: another was between read and write", """
        e a 1 lock X n ok 2 0 1 101 -
        e a 1 read - n ok 2 2 3 - 0
        e a 1 write - n ok 2 4 5 - 1
        e a 1 write - n ok 2 6 7 - 1
        e a 1 unlock - n ok 2 30 31 - -
    """, ["register: written is not what was read (1) and one", "register: wrote 1 where 1 was there: an accepted write is lost"]),
    ("a write that nobody tells of", """
        e a 1 lock X n ok 2 0 1 101 -
        e a 1 read - n ok 2 2 3 - 0
        e a 1 write - n ok 2 4 5 - 1
        e a 1 unlock - n ok 2 10 11 - -
        e b 1 lock X n ok 4 18 19 119 -
        e b 1 read - n ok 4 20 21 - 2
        e b 1 write - n ok 4 22 23 - 3
        e b 1 unlock - n ok 4 30 31 - -
    """, ["register: read 2 where 1 was there: nobody has written this"]),
    ("two writes that are not told, but one that was killed", """
        e a 1 lock X n ok 2 0 1 101 -
        e a 1 read - n ok 2 2 3 - 7
        k a 20 21
        e b 1 lock X n ok 4 130 131 231 -
        e b 1 read - n ok 4 132 133 - 9
        e b 1 write - n ok 4 134 135 - 10
        e b 1 unlock - n ok 4 150 151 - -
    """, ["register: read 9 where 7 was there: nobody has written this"]),
    ("a write that is not told, and one that was killed only afterwards", """
        e a 1 lock X n ok 2 0 1 101 -
        e a 1 read - n ok 2 2 3 - 7
        e a 1 unlock - n ok 2 10 11 - -
        e b 1 lock X n ok 4 130 131 231 -
        e b 1 read - n ok 4 132 133 - 8
        k b 140 141
    """, ["register: read 8 where 7 was there: nobody has written this"]),
    ("a killed one that had read what is there has not written it before", """
        e a 1 lock X n ok 2 0 1 101 -
        e a 1 read - n ok 2 2 3 - 7
        k a 20 21
        e b 1 lock X n ok 4 130 131 231 -
        e b 1 read - n ok 4 132 133 - 7
        e b 1 read - n ok 4 134 135 - 8
        e b 1 unlock - n ok 4 150 151 - -
    """, ["register: read 8 where 7 was there: nobody has written this"]),
    ("killed after its unlock: it writes no more", """
        e a 1 lock X n ok 2 0 1 101 -
        e a 1 read - n ok 2 2 3 - 7
        e a 1 unlock - n ok 2 10 11 - -
        k a 20 21
        e b 1 lock X n ok 6 130 131 231 -
        e b 1 read - n ok 6 132 133 - 8
        e b 1 unlock - n ok 6 150 151 - -
    """, ["register: read 8 where 7 was there: nobody has written this"]),
    ("killed after its close: it writes no more", """
        e a 1 lock X n ok 2 0 1 101 -
        e a 1 read - n ok 2 2 3 - 7
        e a 1 close - n ok 2 10 11 - -
        k a 20 21
        e b 1 lock X n ok 6 130 131 231 -
        e b 1 read - n ok 6 132 133 - 8
        e b 1 unlock - n ok 6 150 151 - -
    """, ["register: read 8 where 7 was there: nobody has written this"]),
    ("killed while it gave back: it writes no more", """
        e a 1 lock X n ok 2 0 1 101 -
        e a 1 read - n ok 2 2 3 - 7
        e a 1 unlock - n - 2 10 - - -
        k a 20 21
        e b 1 lock X n ok 4 130 131 231 -
        e b 1 read - n ok 4 132 133 - 8
        e b 1 unlock - n ok 4 150 151 - -
    """, ["register: read 8 where 7 was there: nobody has written this"]),
    ("a reader reads what was there before", """
        e a 1 lock X n ok 2 0 1 101 -
        e a 1 read - n ok 2 2 3 - 0
        e a 1 write - n ok 2 4 5 - 1
        e a 1 unlock - n ok 2 10 11 - -
        e b 1 lock S n ok 3 18 19 119 -
        e b 1 read - n ok 3 20 21 - 0
        e b 1 unlock - n ok 3 30 31 - -
    """, ["register: read 0 where 1 was there: an accepted write is lost"]),
    ("an old token is accepted", """
        e a 1 lock X n ok 2 0 1 101 -
        e a 1 read - n ok 2 2 3 - 7
        e b 1 lock X n ok 4 130 131 231 -
        e b 1 read - n ok 4 132 133 - 8
        e a 1 write - n ok 2 140 141 - 8
        e a 1 unlock - n ok 2 150 151 - -
        e b 1 unlock - n ok 4 150 151 - -
    """, ["register: accepted with a token below one that was accepted before"]),
    ("an old token is accepted, long after the new one, and another old one between", """
        e b 1 lock X n ok 4 110 111 112 -
        e a 1 lock S n ok 5 112.5 113 114 -
        e c 1 lock X n ok 6 220 221 321 -
        e c 1 read - n ok 6 222 223 - 7
        e b 1 read - n ok 4 222.5 224 - 7
        e a 1 read - n ok 5 230 231 - 7
        e a 1 unlock - n ok 2 350 351 - -
        e b 1 unlock - n ok 4 350 351 - -
        e c 1 unlock - n ok 6 350 351 - -
    """, ["register: accepted with a token below one that was accepted before"]),
    ("an old token may read", """
        e a 1 lock X n ok 2 0 1 101 -
        e b 1 lock X n ok 4 130 131 231 -
        e b 1 read - n ok 4 132 133 - 7
        e a 1 read - n ok 2 140 141 - 7
        e a 1 unlock - n ok 2 150 151 - -
        e b 1 unlock - n ok 4 150 151 - -
    """, ["register: accepted with a token below one that was accepted before"]),
    ("written without having read", """
        e a 1 lock X n ok 2 0 1 101 -
        e a 1 read - n ok 2 2 3 - 0
        e a 1 unlock - n ok 2 4 5 - -
        e a 1 lock X n ok 4 6 7 107 -
        e a 1 write - n ok 4 8 9 - 1
        e a 1 unlock - n ok 4 10 11 - -
    """, ["register: written without having read with this token"]),
    ("written is something else than what was read and one", """
        e a 1 lock X n ok 2 0 1 101 -
        e a 1 read - n ok 2 2 3 - 7
        e a 1 write - n ok 2 8 9 - 9
        e a 1 unlock - n ok 2 10 11 - -
    """, ["register: written is not what was read (7) and one", "register: wrote 9 where 7 was there: a write between is not told"]),
    ("written with the token of a reader", """
        e a 1 lock S n ok 3 0 1 101 -
        e a 1 read - n ok 3 2 3 - 7
        e a 1 write - n ok 3 8 9 - 8
        e a 1 unlock - n ok 3 10 11 - -
    """, ["register: written with the token of a shared lock"]),
    ("accepted without a token", """
        e a 1 lock X n ok 2 0 1 101 -
        e a 1 read - n ok - 2 3 - 7
        e a 1 unlock - n ok 2 10 11 - -
    """, ["register: accepted without a token"]),
    ("accepted with the token of another process", """
        e a 1 lock X n ok 2 0 1 101 -
        e a 1 unlock - n ok 2 10 11 - -
        e b 1 read - n ok 2 12 13 - 7
    """, ["register: accepted with a token that this process was never granted"]),

    # The end.
    ("a key is left", """
        e a 1 lock X n ok 2 0 1 101 -
        e a 1 unlock - n ok 2 10 11 - -
        left m3 dlock:n
    """, ["ended: director.log:1: at the end m3 still has dlock:n"]),
    ("no end", """
        e a 1 lock X n ok 2 0 1 101 -
        e a 1 unlock - n ok 2 10 11 - -
        no end
    """, ["ended: no line tells the end"]),
    ("never given back", """
        e a 1 lock X n ok 2 0 1 101 -
    """, ["ended: the lock was never given back"]),
    ("never closed after a conversion that failed", """
        e a 1 lock S n ok 3 0 1 101 -
        e a 1 lock X n EINTR - 10 11 - -
    """, ["ended: a lock of which something may be left was never given back"]),
    ("a call after the end", """
        e a 1 lock X n ok 2 0 1 101 -
        e a 1 unlock - n ok 2 1010 1011 - -
    """, ["ended: a process was still there after the end"]),
    ("killed after the end", """
        e a 1 lock X n ok 2 0 1 101 -
        k a 1010 1011
    """, ["ended: a was killed only after the end"]),
    ("a call that never returned", """
        e a 1 unlock - n - - 10 - - -
    """, ["ended: a call never returned"]),

    # Waiters, with a bound of 200 ms.
    ("a waiter is served too late", """
        f 10 cut m1
        heal 100
        e a 1 lock X n ok 2 5 301 900 -
        e a 1 unlock - n ok 2 700 701 - -
    """, ["waiters: not served within 200.000 ms"]),
    ("a waiter that came after the heal is served too late", """
        f 10 cut m1
        heal 100
        e a 1 lock X n ok 2 400 601 900 -
        e a 1 unlock - n ok 2 700 701 - -
    """, ["waiters: not served within 200.000 ms"]),
    ("a waiter is served too late, in the last of several phases", """
        f 10 cut m1
        heal 20
        f 30 cut m2
        heal 40
        f 50 cut m2
        heal 60
        e a 1 lock X n ok 2 5 261 900 -
        e a 1 unlock - n ok 2 700 701 - -
    """, ["waiters: not served within 200.000 ms"]),
    ("a waiter is served too late, in the first of two phases", """
        f 10 cut m1
        heal 100
        f 500 cut m2
        heal 600
        e a 1 lock X n ok 2 5 490 900 -
        e a 1 unlock - n ok 2 700 701 - -
    """, ["waiters: not served within 200.000 ms"]),
    ("a waiter is served only by the next fault", """
        f 10 cut m1
        heal 100
        f 500 cut m2
        e a 1 lock X n ok 2 5 510 900 -
        e a 1 unlock - n ok 2 700 701 - -
    """, ["waiters: not served within 200.000 ms"]),
    ("a conversion is served too late", """
        f 10 cut m1
        heal 100
        e a 1 lock S n ok 3 5 6 900 -
        e a 1 lock X n ok 4 20 301 900 -
        e a 1 unlock - n ok 4 700 701 - -
    """, ["waiters: not served within 200.000 ms"]),
    ("no quorum although all is well", """
        f 10 cut m1
        heal 100
        e a 1 lock X n ENOLCK - 200 300 - -
    """, ["waiters: ENOLCK 200.000 ms after all faults were taken back"]),
    ("a waiter hangs until it is killed", """
        f 10 cut m1
        heal 100
        e a 1 lock X n - - 5 - - -
        k a 301 302
    """, ["waiters: not served within 200.000 ms"]),
    ("a waiter hangs for ever", """
        f 10 cut m1
        heal 100
        e a 1 lock X n - - 5 - - -
    """, ["waiters: not served within 200.000 ms", "ended: a call never returned"]),

    # What contradicts itself.
    ("returned before it was called", """
        e a 1 lock X n ok 2 5 4 101 -
        e a 1 unlock - n ok 2 10 11 - -
    """, ["sanity: returned before it was called"]),
    ("two calls at a time", """
        e a 1 lock X n ok 2 0 5 101 -
        e a 1 verify - n ok 2 4 6 101 -
        e a 1 unlock - n ok 2 10 11 - -
    """, ["sanity: two calls on one descriptor overlap"]),
    ("a close during a call that succeeds", """
        e a 1 lock X n ok 2 0 1 101 -
        e a 1 verify - n ok 2 2 6 106 -
        e a 1 close - n ok 2 5 7 - -
    """, ["sanity: two calls on one descriptor overlap", "sanity: verify said yes without a lock"]),
    ("granted after its deadline", """
        f 2 stop b
        e a 1 lock X n ok 2 0 5 5 -
        e a 1 unlock - n ok 2 10 11 - -
    """, ["sanity: granted when its deadline had passed"]),
    ("granted after its deadline, stopped only afterwards", """
        f 6 stop a
        e a 1 lock X n ok 2 0 5 5 -
        e a 1 unlock - n ok 2 10 11 - -
    """, ["sanity: granted when its deadline had passed"]),
    ("granted after its deadline, stopped long before", """
        f 1 stop a
        e a 1 lock X n ok 2 1100 1115 1114 -
        e a 1 unlock - n ok 2 1120 1121 - -
        end 2000
    """, ["sanity: granted when its deadline had passed"]),
    ("granted without a token", """
        e a 1 lock X n ok - 0 5 101 -
        e a 1 unlock - n ok - 10 11 - -
    """, ["sanity: granted without a token"]),
    ("granted without a token, as is right for one of them only", """
        e m.1 1 lock X n ok - 0 1 101 -
        e m.1 1 unlock - n ok - 50 51 - -
        e l.1 1 lock X n ok - 60 61 161 -
        e l.1 1 unlock - n ok - 70 71 - -
    """, ["sanity: granted without a token"], {"tokenless": ("k", "m.")}),
    ("a result that is no errno", """
        e a 1 lock X n EAGAINST - 0 5 - -
    """, ["sanity: EAGAINST is no result of lock"]),
    ("unlock succeeds always", """
        e a 1 unlock X n ENOLCK - 0 5 - -
    """, ["sanity: ENOLCK is no result of unlock"]),
    ("another name while it is held", """
        e a 1 lock X n ok 2 0 1 101 -
        e a 1 lock X m EINTR - 6 7 - -
        e a 1 unlock - n ok 2 10 11 - -
    """, ["sanity: another name, m, while it has n"]),
    ("granted on top of a loss", """
        e a 1 lock X n ok 2 0 1 101 -
        e a 1 lost - n - - - 2 - -
        e a 1 lock X n ok 4 3 4 104 -
        e a 1 verify - n ok 4 5 6 106 -
        e a 1 unlock - n ok 4 10 11 - -
    """, ["sanity: granted although it was told of a loss"]),
    ("granted on top of a loss that a lock call told", """
        e a 1 lock X n ok 2 0 1 101 -
        e a 1 lock X n ESTALE - 1 2 - -
        e a 1 lock X n ok 4 3 4 104 -
        e a 1 unlock - n ok 4 10 11 - -
    """, ["sanity: granted although it was told of a loss"]),
    ("a writer before a lock call told of the loss", """
        e a 1 lock X n ok 2 0 1 101 -
        e a 1 lock X n ESTALE - 10 20 - -
        e b 1 lock X n ok 4 5 9 109 -
        e b 1 unlock - n ok 4 9.5 11 - -
        e a 1 unlock - n ok - 21 22 - -
    """, ["exclusion: two exclusive locks of n at the same time, for 0.500 ms"]),
    ("verified in spite of a loss", """
        e a 1 lock X n ok 2 0 1 101 -
        e a 1 lost - n - - - 2 - -
        e a 1 verify - n ok 2 3 4 104 -
        e a 1 unlock - n ok 4 10 11 - -
    """, ["sanity: verify said yes although it was told of a loss"]),
    ("renewed in spite of a loss", """
        e a 1 lock X n ok 2 0 1 101 -
        e a 1 lost - n - - - 2 - -
        e a 1 renew - n ok 2 - 4 104 -
        e a 1 unlock - n ok 4 10 11 - -
    """, ["sanity: renewed although it was told of a loss"]),
    ("verified without a lock", """
        e a 1 lock X n ok 2 0 1 101 -
        e a 1 unlock - n ok 2 2 3 - -
        e a 1 verify - n ok 2 4 5 104 -
    """, ["sanity: verify said yes without a lock"]),
    ("verified with another token after a conversion that failed", """
        e a 1 lock S n ok 3 0 1 101 -
        e a 1 lock X n EINTR - 10 11 - -
        e a 1 verify - n ok 5 12 13 104 -
        e a 1 unlock - n ok 2 22 23 - -
    """, ["sanity: verify said yes without a lock"]),
    ("lost without a lock", """
        e a 1 lock X n EINTR - 0 1 - -
        e a 1 lost - n - - - 2 - -
    """, ["sanity: told of a loss without a lock"]),
    ("refused what it has", """
        e a 1 lock X n ok 2 0 1 101 -
        e a 1 lock X n EWOULDBLOCK - 2 3 - -
        e a 1 unlock - n ok 2 10 11 - -
    """, ["sanity: a lock call in the mode that is held must return 0 at once"]),
    ("a writer beside one that was refused what it has", """
        e a 1 lock X n ok 2 0 1 101 -
        e a 1 lock X n ENOLCK - 2 3 - -
        e b 1 lock X n ok 4 0 4 101 -
        e b 1 unlock - n ok 4 5 6 - -
        e a 1 unlock - n ok 2 10 11 - -
    """, ["sanity: a lock call in the mode that is held", "exclusion: two exclusive locks"]),

    # Nothing is no proof.
    ("nothing at all", """
        e a 1 lock X n EINTR - 0 1 - -
    """, ["trivial: only 0 grants: at least 1 are wanted"], {"min_grants": 1}),
    ("too few grants", """
        e a 1 lock X n ok 2 0 1 101 -
        e a 1 lock X n ok 2 2 3 103 -
        e a 1 unlock - n ok 2 10 11 - -
    """, ["trivial: only 1 grants: at least 2 are wanted"], {"min_grants": 2}),
    ("too few grants: what a dead process may have got is none", """
        e a 1 lock X n ok 2 0 1 101 -
        e a 1 lock S n - - 2 - - -
        k a 10 11
    """, ["trivial: only 1 grants: at least 2 are wanted"], {"min_grants": 2}),
    ("too few faults", """
        f 1 cut m1
        e a 1 lock X n ok 2 0 1 101 -
        e a 1 unlock - n ok 2 10 11 - -
    """, ["trivial: only 1 faults: at least 2 are wanted"], {"min_faults": 2}),
    ("ENOLCK before and after the quorum's time-out", """
        f 10 cut m1
        heal 100
        e a 1 lock X n ENOLCK - 650 699 - -
        e b 1 lock X n ENOLCK - 650 700 - -
    """, ["waiters: ENOLCK 600.000 ms after"], {"quorum_timeout": 50000000}),
    ("ENOLCK within the grace, and beyond it", """
        f 10 cut m1
        heal 100
        e a 1 lock X n ENOLCK - 5 149 - -
        e b 1 lock X n ENOLCK - 5 150 - -
    """, ["waiters: ENOLCK 50.000 ms after"], {"grace": 50000000}),
    ("served before one who had asked earlier", """
        heal 100
        e h 1 lock X turn ok 2 155 156 600 -
        e h 1 unlock - turn ok 2 200 201 - -
        e b 1 lock X turn ok 4 170.001 202 600 -
        e b 1 unlock - turn ok 4 203 204 - -
        e a 1 lock X turn ok 6 160 205 600 -
        e a 1 unlock - turn ok 6 206 207 - -
    """, ["order: served while somebody waited who had asked 10.001 ms earlier"]),
    ("the same after a clock was ahead, while another process did not run, before the next fault", """
        ahead 80 160
        ahead 100.001 300
        late a 150 160
        late a 202 220
        late c 150 220
        heal 100
        e h 1 lock X turn ok 2 155 156 600 -
        e h 1 unlock - turn ok 2 200 201 - -
        e b 1 lock X turn ok 4 180 202 600 -
        e b 1 unlock - turn ok 4 203 204 - -
        f 203 begin cut m1
        e a 1 lock X turn ok 6 160 205 600 -
        e a 1 unlock - turn ok 6 206 207 - -
    """, ["order: served while somebody waited who had asked 20.000 ms earlier"]),
    ("a reader before a writer who had asked earlier", """
        heal 100
        e h 1 lock X turn ok 2 155 156 600 -
        e h 1 unlock - turn ok 2 200 201 - -
        e b 1 lock S turn ok 3 180 202 600 -
        e b 1 unlock - turn ok 3 203 204 - -
        e a 1 lock X turn ok 4 160 205 600 -
        e a 1 unlock - turn ok 4 206 207 - -
    """, ["order: served while somebody waited who had asked 20.000 ms earlier"]),
    ("a writer before a reader who had asked earlier", """
        heal 100
        e h 1 lock X turn ok 2 155 156 600 -
        e h 1 unlock - turn ok 2 200 201 - -
        e b 1 lock X turn ok 4 180 202 600 -
        e b 1 unlock - turn ok 4 203 204 - -
        e a 1 lock S turn ok 5 160 205 600 -
        e a 1 unlock - turn ok 5 206 207 - -
    """, ["order: served while somebody waited who had asked 20.000 ms earlier"]),
    ("two before one who had asked earlier: told once", """
        heal 100
        e h 1 lock X turn ok 2 155 156 600 -
        e h 1 unlock - turn ok 2 200 201 - -
        e b 1 lock X turn ok 4 175 202 600 -
        e b 1 unlock - turn ok 4 203 204 - -
        e c 1 lock X turn ok 6 180 205 600 -
        e c 1 unlock - turn ok 6 206 207 - -
        e a 1 lock X turn ok 8 160 208 600 -
        e a 1 unlock - turn ok 8 209 210 - -
    """, ["order: served while somebody waited who had asked 15.000 ms earlier"]),
    ("served before one who had asked earlier, and gave up long after", """
        heal 100
        e h 1 lock X turn ok 2 155 156 600 -
        e h 1 unlock - turn ok 2 200 201 - -
        e b 1 lock X turn ok 4 180 202 600 -
        e b 1 unlock - turn ok 4 203 204 - -
        e a 1 lock X turn EINTR - 160 213 - -
    """, ["order: served while somebody waited who had asked 20.000 ms earlier"]),
    ("served before one who had asked earlier, and was killed long after", """
        heal 100
        e h 1 lock X turn ok 2 155 156 600 -
        e h 1 unlock - turn ok 2 200 201 - -
        e b 1 lock X turn ok 4 180 202 600 -
        e b 1 unlock - turn ok 4 203 204 - -
        e a 1 lock X turn - - 160 - - -
        k a 213 214
    """, ["order: served while somebody waited who had asked 20.000 ms earlier"]),
]

WHOLE = "e a 1 lock X n ok 2 0 1 101 -\ne a 1 unlock - n ok 2 10 11 - -\n"
END = {"director.log": "k z 90 91\nend 1000\n"}

# The text as it is; what must be found: beginnings of what is bad, and whether there are cut lines.
RAW = [
    ("the last line of a killed process is cut off", {"z.log": "e z 1 lock X m ok 2 0 1 101 -\ne z 1 unl"}, [], 1),
    ("the last line of a killed process is cut off within a number", {"z.log": "e z 1 lock X m ok 2 0 1 101 -\ne z 1 lock X m ok 2 5 6 10"}, [], 1),
    ("the only line of a killed process is cut off", {"z.log": "e z"}, [], 1),
    ("the only line of a killed process is cut off after its name", {"y.log": "e z 1"}, [], 1),
    ("the last line of a killed process is something else", {"z.log": "e z 1 lock X m ok 2 0 1 101 -\nnonsense\n"}, [], 1),
    ("the call of a cut unlock counts", {
        "z.log": "e z 9 unlock - y - - 0 - - -\ne z 9 unlock - y ok - 0 1 - -\ne z 1 lock X n ok 2 0 1 101000000 -\ne z 1 unlock - n ok 2 11 1", "a.log": "e a 1 lock X n ok 4 2 50 101000000 -\ne a 1 unlock - n ok 4 60 61 - -\n",
        "director.log": "k z 100 101\nend 1000\n"}, [], 1),
    ("the call of a cut unlock may itself be cut", {
        "z.log": "e z 9 unlock - y - - 0 - - -\ne z 9 unlock - y ok - 0 1 - -\ne z 1 lock X n ok 2 0 1 101000000 -\ne z 1 unlock - n ok 2 11", "a.log": "e a 1 lock X n ok 4 2 99 101000000 -\ne a 1 unlock - n ok 4 120 121 - -\n",
        "director.log": "k z 100 101\nend 1000\n"}, ["exclusion: two exclusive locks of n"], 1),
    ("the last line of another is cut off", {"b.log": "e b 1 lock X m EINTR - 0 1 - -\ne b 1 unl"}, ["b.log:2: the line is cut off"], 0),
    ("the last line of another is cut off after its last field", {"b.log": "e b 1 unlock - m ok - 0 1 - -"}, ["b.log:1: the line is cut off"], 0),
    ("a line of a killed process that is not its last", {"z.log": "e z 1 unl\ne z 1 unlock - m ok - 1 2 - -\n"}, ["z.log:1: 4 fields"], 0),
    ("the last two lines of a killed process", {"z.log": "e z 1 unl\ne z 1 unl"}, ["z.log:1: 4 fields"], 1),
    ("the last line of the director is cut off", {"director.log": "k z 90 91\nend 1000\nleft m"}, ["director.log:3: the line is cut off"], 0),
    ("no such line", {"b.log": "x 1\n"}, ["b.log:1: no kind of line"], 0),
    ("an empty line", {"b.log": "\n"}, ["b.log:1: no kind of line"], 0),
    ("a field too many", {"b.log": "e b 1 unlock - m ok - 1 2 - - -\n"}, ["b.log:1: 13 fields"], 0),
    ("an empty field", {"b.log": "e b 1 unlock -  ok - 1 2 - -\n"}, ["b.log:1: an empty field"], 0),
    ("no such operation", {"b.log": "e b 1 look - m ok - 1 2 - -\n"}, ["b.log:1: no operation: 'look'"], 0),
    ("no such mode", {"b.log": "e b 1 lock Y m ok 2 1 2 3 -\n"}, ["b.log:1: no mode"], 0),
    ("a lock without a mode", {"b.log": "e b 1 lock - m ok 2 1 2 3 -\n"}, ["b.log:1: no mode"], 0),
    ("a token that is no number", {"b.log": "e b 1 unlock - m ok 0x2 1 2 - -\n"}, ["b.log:1: the token is not a number"], 0),
    ("a time before all times", {"b.log": "e b 1 unlock - m ok 2 -1 2 - -\n"}, ["b.log:1: CALL is not a number"], 0),
    ("a deadline that is no number", {"b.log": "e b 1 lock X m ok 2 1 2 1e9 -\n"}, ["b.log:1: the deadline is not a number"], 0),
    ("a time-out that is no number", {"b.log": "e b 1 lock X m ok 2 1 2 9 soon\n"}, ["b.log:1: the time-out is not a number"], 0),
    ("no call", {"b.log": "e b 1 unlock - m ok - - 2 - -\n"}, ["b.log:1: CALL is missing"], 0),
    ("no return", {"b.log": "e b 1 unlock - m ok - 1 - - -\n"}, ["b.log:1: RESULT and RETURN"], 0),
    ("no result", {"b.log": "e b 1 unlock - m - - 1 2 - -\n"}, ["b.log:1: RESULT and RETURN"], 0),
    ("a loss at no time", {"b.log": "e b 1 lost - m - - 1 - - -\n"}, ["b.log:1: RETURN is missing"], 0),
    ("a value that is missing", {"b.log": "e b 1 read - m ok 2 1 2 - -\n"}, ["b.log:1: the value is missing"], 0),
    ("a fault without words", {"b.log": "f 12\n"}, ["b.log:1: f: a time and words"], 0),
    ("a fault at no time", {"b.log": "f cut m1\n"}, ["b.log:1: the time is not a number"], 0),
    ("a heal at no time", {"b.log": "heal -\n"}, ["b.log:1: the time is not a number"], 0),
    ("a kill without an end", {"b.log": "k b 3\n"}, ["b.log:1: k: a process and two times"], 0),
    ("a kill that ends before it begins", {"b.log": "k b 3 2\n"}, ["b.log:1: k: the time after comes before"], 0),
    ("late without an end", {"b.log": "late b 3\n"}, ["b.log:1: late: a process and two times"], 0),
    ("ahead for no time", {"b.log": "ahead - 4\n"}, ["b.log:1: the time before is not a number"], 0),
    ("ahead without an end", {"b.log": "ahead 3\n"}, ["b.log:1: ahead: two times"], 0),
    ("killed twice", {"b.log": "k z 3 4\n"}, ["director.log:1: k: z was killed already, b.log:1"], 0),
    ("two ends", {"b.log": "end 2000\n"}, ["director.log:2: a second end"], 0),
    ("a key without a master", {"b.log": "left m1\n"}, ["b.log:1: left: a master and a key"], 0),
]

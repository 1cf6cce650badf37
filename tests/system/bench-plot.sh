#!/bin/bash
#
# bench/plot: what it draws is XML with every label; what it cannot draw it says in one sentence.

. "$(dirname "$0")/../checks/common"

python=/usr/bin/python3
[ -x $python ] || python=$(type -P python3)
if [ -z "$python" ]; then
	echo "1..0 # SKIP python3 was not found"
	exit 0
fi

cat > "$scratch/measured.json" <<'END'
{"time": 1790000000, "processors": 2, "load": 0.25, "results": [
  {"figure": "handover <median> & 'rest'", "unit": "us", "ours": {"median": 300, "least": 280, "most": 320},
   "floor": {"median": 200, "least": 200, "most": 200}, "ratio": {"median": 1.5, "least": 1.4, "most": 1.6},
   "bar": "<= 1.25", "verdict": "missed"},
  {"figure": "head killed", "unit": "ms", "ours": {"median": 2, "least": 2, "most": 2},
   "floor": {"median": 1, "least": 1, "most": 1}, "ratio": {"median": 2, "least": 2, "most": 2},
   "bar": "+ 5 ms", "verdict": "met"},
  {"figure": "inversions", "unit": "", "ours": {"median": 0, "least": 0, "most": 0},
   "floor": {"median": 0, "least": 0, "most": 0}, "ratio": {"median": 0, "least": 0, "most": 0},
   "bar": "-", "verdict": "-"},
  {"figure": "a peer, stopped", "cannot": "it waits for ever"}
], "points": [
  {"curve": "masters", "series": "lock+unlock, ours", "x": 1, "unit": "us", "y": 70},
  {"curve": "masters", "series": "lock+unlock, ours", "x": 7, "unit": "us", "y": 400},
  {"curve": "masters", "series": "lock+unlock, floor", "x": 1, "unit": "us", "y": 40},
  {"curve": "masters", "series": "lock+unlock, floor", "x": 7, "unit": "us", "y": 300},
  {"curve": "masters", "series": "failed, ours", "x": 1, "unit": "", "y": 0},
  {"curve": "waiters", "series": "scripts a hand-over, ours", "x": 1000, "unit": "", "y": 10}
]}
END

# draw FILE FOLDER [PATH]: sets status and said.
draw() {
	said=$(PATH=${3:-$PATH} "$python" bench/plot "$1" "$2" 2>&1)
	status=$?
}

# refused WHAT PATTERN: the last one was, in one sentence, and nothing was drawn.
refused() {
	if [ "$status" = 1 ] && [ "$(wc -l <<< "$said")" = 1 ] && [[ $said == 'plot: '*$2* ]] &&
		[ -z "$(ls "$scratch/none")" ]; then
		good "$1"
	else
		bad "$1" "status $status: $said"
	fi
}

mkdir "$scratch/none" "$scratch/one" "$scratch/two"
echo '{"time": 1, "resul' > "$scratch/torn.json"
draw "$scratch/torn.json" "$scratch/none"
refused "a file that is torn" "is no JSON"
echo '{"results": []}' > "$scratch/other.json"
draw "$scratch/other.json" "$scratch/none"
refused "a file of something else" "is not what"
sed 's/"ratio": {"median": 2,/"ratio": {/' "$scratch/measured.json" > "$scratch/gap.json"
draw "$scratch/gap.json" "$scratch/none"
refused "a result with a gap" "not complete"
sed 's/"curve": "waiters"/"curve": "..\/waiters"/' "$scratch/measured.json" > "$scratch/path.json"
draw "$scratch/path.json" "$scratch/none"
refused "a curve that would be drawn elsewhere" "no name for a file"
draw "$scratch/missing.json" "$scratch/none"
refused "no file" "cannot be read"
draw "$scratch/measured.json" "$scratch/nowhere"
refused "no folder" "is no folder"
draw "$scratch/measured.json" "$scratch/none" "$scratch/nowhere"
refused "no gnuplot" "gnuplot-nox"

# labels FILE LABEL...: the file is XML on white, and these are texts of it.
labels() {
	"$python" - "$@" <<'END'
import sys
import xml.etree.ElementTree as xml
tree = xml.parse(sys.argv[1])
texts = {"".join(text.itertext()).strip() for text in tree.iter("{http://www.w3.org/2000/svg}text")}
missing = [label for label in sys.argv[2:] if label not in texts]
if missing:
    sys.exit("not %s in %s" % (missing, sorted(texts)))
first = next(tree.iter("{http://www.w3.org/2000/svg}rect"))
if first.get("fill").lower() != "#ffffff" or first.get("width") != tree.getroot().get("width"):
    sys.exit("it is not white behind")
END
}

has_labels() {
	if said=$(labels "${@:2}" 2>&1); then good "$1"; else bad "$1" "$said"; fi
}

if ! command -v gnuplot > /dev/null; then
	omit "the plots" "gnuplot was not found"
	end
	exit
fi
draw "$scratch/measured.json" "$scratch/one"
if [ "$status" = 0 ] && [ "$(cd "$scratch/one" && echo *)" = "bench-masters.svg bench-ratios.svg bench-waiters.svg" ]; then
	good "a plot of the ratios, and one of each curve"
else
	bad "a plot of the ratios, and one of each curve" "status $status: $said" "$(ls "$scratch/one")"
fi
has_labels "ratios: each figure, its ratio and its bar" "$scratch/one/bench-ratios.svg" \
	"handover <median> & 'rest'" "1.50  (≤ 1.25)  missed" "2.00  (+ 5 ms)  met" "0, floor 0" "a peer, stopped" cannot \
	"ours / floor" "2026-09-21, 2 processors, load 0.25"
has_labels "masters: what, whose and where" "$scratch/one/bench-masters.svg" "lock+unlock (µs)" ours floor masters 1 7
has_labels "waiters: one point is a curve, too" "$scratch/one/bench-waiters.svg" "scripts a hand-over" "1,000"
draw "$scratch/measured.json" "$scratch/two"
said=$(diff -r "$scratch/one" "$scratch/two")
empty "the same file gives the same plots" "$said"
end

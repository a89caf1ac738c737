#!/bin/sh
# Profiles the hot paths and writes the profile that `go build` optimises the product for: appliance/cmd/weir/default.pgo, which
# bench/default.pgo links to, so that `go run ./bench` measures what ships. Run it, as root, after changes of hot code (make pgo);
# a profile that is a little old costs nothing but speed.
set -eu
GO=${GO:-go}
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
profile() { # name, package, flags
	name=$1 package=$2
	shift 2
	echo "profiling $package" >&2
	# A figure that a busy machine makes odd is no matter here.
	$GO test -timeout 10m -cpuprofile "$tmp/$name" -o "$tmp/$name.test" "$@" "$package" >"$tmp/$name.out" 2>&1 || tail -n 3 "$tmp/$name.out" >&2
	[ -s "$tmp/$name" ]
}
profile memory ./bench/memory -run '^$' -bench '^BenchmarkProfile$' -benchtime 1x -count 1
profile ports ./bench/ports -run '^TestRun$' -count 2
profile flows ./bench/flows -run '^TestCases$' -count 4
$GO tool pprof -proto -focus='weir/(dataplane|flowcollect|controlplane)/' -output "$tmp/default.pgo" "$tmp/memory" "$tmp/ports" "$tmp/flows" >&2
mv "$tmp/default.pgo" appliance/cmd/weir/default.pgo
ls -l appliance/cmd/weir/default.pgo >&2

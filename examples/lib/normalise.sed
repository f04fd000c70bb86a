# Replaces what differs from run to run, so that an example's output can be compared with what is expected.
s/[0-9a-f]\{64\}/HASH/g
s/time[=:] *[0-9.]* ms/time=N ms/g
s/= [0-9.]*\/[0-9.]*\/[0-9.]*\(\/[0-9.]*\)\{0,1\} ms/= N ms/
s/^\([0-9]*\) MB in [0-9.]* s: [0-9]* Mbit\/s/\1 MB in N s: N Mbit\/s/
s/\(IP [0-9.]*\.\)[0-9]* > /\1PORT > /
s/, up [0-9hms ]*$/, up N/
s/\b[0-9a-f][0-9a-f]\(:[0-9a-f][0-9a-f]\)\{5\}\b/MAC/g
s/\/sluice\.[A-Za-z0-9]\{6\}\//\/sluice.ID\//g
# Endpoint and container ids, ages.
s/\b[0-9a-f]\{12\}\b/ID/g
s/\b[0-9]\{1,\}\(\.[0-9]*\)\{0,1\} \{0,1\}\(s\|ms\|us\|µs\|seconds\|minutes\) ago/N ago/g
s/ *$//
# Answers of switches: sizes, pauses, what a bundle's bytes came to, and what this kernel and this sandbox lack.
s/, in [0-9.]* s$/, in N s/
s/\b[0-9.]\{1,\} \(k\|M\)\{0,1\}B\b/SIZE/g
s/ [0-9]\{1,\} bytes sha256:/ SIZE sha256:/
s/ [0-9]\{1,\} ms$/ N ms/
s/init system: process 1.*/WEAKER/
s/findings=[0-9]*/findings=N/
/^HOST \|^172\.31\.0\.9 /s/  */ /g
s/\(ID ID\) [0-9]*$/\1 PID/

#!/bin/sh
# SPDX-License-Identifier: MIT
#
# usage: samples/transcode.sh FILE OUT.mp4
#
# A transcode as media servers do it: decoded, scaled and encoded on the host; only the two
# bitstreams pass. Says what the host did, and that no picture was looked at here.

set -eu

viaduct=${VIADUCT:-viaduct}
file=${1:?usage: samples/transcode.sh FILE OUT.mp4}
out=${2:?usage: samples/transcode.sh FILE OUT.mp4}
counters=$(mktemp)
trap 'rm -f "$counters"' EXIT

"$viaduct" exec --stats "$counters" -- ffmpeg -nostdin -v error -y \
	-hwaccel vaapi -hwaccel_output_format vaapi -i "$file" \
	-vf 'scale_vaapi=w=1280:h=-2' -c:v h264_vaapi -rc_mode VBR -b:v 3M -maxrate 4M -c:a copy "$out"
grep -E '^(decoded|processed|encoded|mapped|bytes_in|bytes_out) ' "$counters"

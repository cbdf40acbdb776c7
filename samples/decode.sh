#!/bin/sh
# SPDX-License-Identifier: MIT
#
# usage: samples/decode.sh FILE
#
# Ways to decode a file with Viaduct. Each is an ordinary command behind `viaduct exec --`.

set -eu

viaduct=${VIADUCT:-viaduct}
file=${1:?usage: samples/decode.sh FILE}
counters=$(mktemp)
trap 'rm -f "$counters"' EXIT

# through TITLE COMMAND...: shows and runs it, then how many pictures the host decoded.
through() {
	echo "# $1"
	shift
	echo "viaduct exec -- $*"
	"$viaduct" exec --stats "$counters" -- "$@" || echo "exit code $?"
	sed -n 's/^decoded /-> pictures decoded by the host: /p' "$counters"
	echo
}

# Frames are brought back to the program, as its filters and encoders want them.
through 'FFmpeg, frames in memory' \
	ffmpeg -nostdin -v error -hwaccel vaapi -i "$file" -f null -

# Frames stay in surfaces until something needs them. Here nothing does.
through 'FFmpeg, frames in surfaces' \
	ffmpeg -nostdin -v error -hwaccel vaapi -hwaccel_output_format vaapi -i "$file" -f null -

# The surface's memory itself is mapped and read: no copy at all.
through 'FFmpeg, surfaces mapped' \
	ffmpeg -nostdin -v error -hwaccel vaapi -hwaccel_output_format vaapi -i "$file" \
	-vf hwmap=mode=read+direct,format=yuv420p -f null -

# One checksum a frame: compare with the same command without -hwaccel vaapi.
through 'FFmpeg, the first five checksums' \
	ffmpeg -nostdin -v error -hwaccel vaapi -i "$file" -frames:v 5 -f framemd5 -

if gst-inspect-1.0 --exists decodebin 2>/dev/null; then
	# The plug-ins ask the driver when they are registered: under viaduct exec it answers.
	through 'GStreamer with gstreamer-vaapi' \
		gst-launch-1.0 -q filesrc location="$file" ! parsebin ! vaapih264dec ! fakesink
else
	echo '# no GStreamer here'
fi

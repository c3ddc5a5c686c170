#!/usr/bin/env bash
# Makes every file of demo/media again, from ffmpeg's test sources and demo/make-report.py.
#
# Needs: ffmpeg (with libx264), python3 with reportlab, a DejaVu font.
# On Debian: apt-get install ffmpeg python3 python3-reportlab fonts-dejavu-core
set -euo pipefail
cd "$(dirname "$0")"

for tool in ffmpeg python3; do
    command -v "$tool" >/dev/null || { echo "make-media: $tool is missing" >&2; exit 1; }
done

# Written beside the old files and moved at the end, so that a failure leaves the old ones alone.
new=$(mktemp -d ./media.XXXXXX)
trap 'rm -rf "$new"' EXIT
mkdir -p "$new/hls/low" "$new/hls/high"

ff() { ffmpeg -hide_banner -loglevel error -nostdin -y "$@"; }

# No encoder versions and no dates: the same ffmpeg makes the same bytes.
exact=(-fflags +bitexact -flags:v +bitexact -flags:a +bitexact -map_metadata -1)
font="font=DejaVu Sans:fontcolor=white:box=1:boxcolor=black@0.45:boxborderw=12"

# --- picture.jpg: a still of a fractal with a caption ------------------------------------------
ff -f lavfi -i "mandelbrot=size=1280x720:rate=1:start_scale=0.4:start_x=-0.743643887:start_y=0.131825904:end_scale=0.01" \
    -vf "select=eq(n\,8),drawtext=text='mediagate sample picture':fontsize=40:x=40:y=h-80:$font" \
    -frames:v 1 -q:v 5 -pix_fmt yuvj420p "${exact[@]}" -f image2 -update 1 "$new/picture.jpg"

# --- clip.mp4: ten seconds, H.264 and AAC, index in front --------------------------------------
clock='%{pts\:hms}'
video() { # size
    echo "gradients=size=$1:rate=25:duration=10:speed=0.02:seed=7:nb_colors=5:c0=0x0b3c5d:c1=0x328cc1:c2=0xd9b310:c3=0x1d2731:c4=0x7a2e8e"
}
# One short beep each second over a quiet chord: lost or repeated sound can be heard.
sound="aevalsrc=exprs='0.08*sin(2*PI*220*t)+0.06*sin(2*PI*277.18*t)+0.05*sin(2*PI*329.63*t)+0.25*sin(2*PI*880*t)*lt(mod(t,1),0.06)':s=48000:d=10"

ff -f lavfi -i "$(video 640x360)" -f lavfi -i "$sound" \
    -vf "drawtext=text='mediagate sample clip':fontsize=26:x=24:y=24:$font,drawtext=text='$clock':fontsize=26:x=w-tw-24:y=h-50:$font" \
    -c:v libx264 -preset slow -crf 27 -profile:v main -pix_fmt yuv420p -g 50 \
    -c:a aac -b:a 64k -ac 1 "${exact[@]}" -movflags +faststart "$new/clip.mp4"

# --- hls/: two renditions, fragmented MP4, two-second segments, relative addresses --------------
rendition() { # name size fontsize crf maxrate audio
    ff -f lavfi -i "testsrc2=size=$2:rate=25:duration=10" -f lavfi -i "$sound" \
        -vf "drawtext=text='$1 · $2':fontsize=$3:x=(w-tw)/2:y=h-th-24:$font" \
        -c:v libx264 -preset slow -crf "$4" -maxrate "$5" -bufsize "$5" -profile:v main -pix_fmt yuv420p \
        -g 50 -keyint_min 50 -sc_threshold 0 -c:a aac -b:a "$6" -ac 1 "${exact[@]}" \
        -f hls -hls_time 2 -hls_playlist_type vod -hls_segment_type fmp4 -hls_flags independent_segments \
        -hls_fmp4_init_filename init.mp4 -hls_segment_filename "$new/hls/$1/segment%d.m4s" "$new/hls/$1/index.m3u8"
}
rendition low 320x180 16 32 160k 48k
rendition high 640x360 26 30 480k 64k

# BANDWIDTH is the peak of the segments, with a tenth in hand; CODECS is H.264 main with AAC-LC.
peak() { # rendition
    local largest
    largest=$(stat -c %s "$new/hls/$1/"segment*.m4s | sort -n | tail -1)
    echo $((largest * 8 / 2 * 11 / 10))
}
level() { # rendition → the avc1 code of its init segment
    ffprobe -v error -select_streams v:0 -show_entries stream=level -of csv=p=0 "$new/hls/$1/index.m3u8" | head -1 |
        awk '{ printf "avc1.4d40%02x", $1 }'
}
{
    echo '#EXTM3U'
    echo '#EXT-X-VERSION:7'
    echo '#EXT-X-INDEPENDENT-SEGMENTS'
    echo "#EXT-X-STREAM-INF:BANDWIDTH=$(peak low),RESOLUTION=320x180,FRAME-RATE=25.000,CODECS=\"$(level low),mp4a.40.2\""
    echo 'low/index.m3u8'
    echo "#EXT-X-STREAM-INF:BANDWIDTH=$(peak high),RESOLUTION=640x360,FRAME-RATE=25.000,CODECS=\"$(level high),mp4a.40.2\""
    echo 'high/index.m3u8'
} >"$new/hls/master.m3u8"

# --- PDF ----------------------------------------------------------------------------------------
python3 make-report.py "$new/report.pdf"
mkdir -p "$new/docs" "$new/customers/42/invoices" "$new/customers/43/invoices"
python3 make-report.py "$new/docs/report 1.pdf" 42 2026-0001
python3 make-report.py "$new/customers/42/invoices/42.pdf" 42 2026-0042
python3 make-report.py "$new/customers/43/invoices/43.pdf" 43 2026-0043

total=$(du -sb --apparent-size "$new" | cut -f1)
if [ "$total" -gt 1500000 ]; then
    echo "make-media: $total bytes is more than the sample media may weigh" >&2
    exit 1
fi
chmod 755 "$new"
rm -rf media
mv "$new" media
trap - EXIT
find media -type f -exec ls -l {} + | awk '{ print $5, $9 }'

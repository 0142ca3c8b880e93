// Run a graph model of TensorFlow.js: node run_tfjs.js MODEL_FOLDER IMAGE.bin HEIGHT WIDTH RESULT.bin
//
// IMAGE is (1, HEIGHT, WIDTH, 3) of float32 from 0 to 1, RESULT what the detector gives first, also in float32.
const fs = require('fs');
const path = require('path');
const tf = require('@tensorflow/tfjs');

const [folder, image, height, width, result] = process.argv.slice(2);

function floats(file) {
  const bytes = fs.readFileSync(file);
  return new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
}

async function main() {
  const model = JSON.parse(fs.readFileSync(path.join(folder, 'model.json')));
  const shards = model.weightsManifest.flatMap((group) => group.paths);
  const weights = Buffer.concat(shards.map((name) => fs.readFileSync(path.join(folder, name))));
  const network = await tf.loadGraphModel({load: async () => ({
    modelTopology: model.modelTopology,
    weightSpecs: model.weightsManifest.flatMap((group) => group.weights),
    weightData: weights.buffer.slice(weights.byteOffset, weights.byteOffset + weights.length),
    signature: model.signature,
  })});
  const outputs = network.predict(tf.tensor(floats(image), [1, Number(height), Number(width), 3]));
  const first = Array.isArray(outputs) ? outputs[0] : outputs;
  fs.writeFileSync(result, Buffer.from((await first.data()).buffer));
  console.log(JSON.stringify({shape: first.shape, backend: tf.getBackend()}));
}

main();

"""Train a scene, and write its model at three sizes: python examples/01_train_and_slim.py [SCENE] [ITERATIONS]"""

import sys

import taichi_rf as trf

scene = sys.argv[1] if len(sys.argv) > 1 else "lantern"
iterations = int(sys.argv[2]) if len(sys.argv) > 2 else 600

training = trf.train(scene, downscale=4, iterations=iterations)
for progress in training:
    if progress.iteration % 100 == 0 or training.done:
        print(f"iteration {progress.iteration}: {progress.psnr:.1f} dB on training rays, rank {progress.level}")

whole = training.save("whole.trf")[-1]
print(f"whole.trf: {whole / 1e6:.2f} MB, {training.model.num_levels} ranks")
# A prefix of the file is a model: nothing is decoded, nothing trained.
print(f"four.trf: {trf.slim('whole.trf', 'four.trf', level=4) / 1e6:.2f} MB, the first 4 ranks of it")
print(f"small.trf: {trf.slim('whole.trf', 'small.trf', size=300_000) / 1e6:.2f} MB, the best that 300 kB hold")

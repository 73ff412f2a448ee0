"""3D Diffusion Policy (Ze et al., RSS 2024, arXiv:2403.03954), written from its paper and its published settings.

What it keeps: a point encoder of three shared linear layers with layer norms, a maximum over the points and a
projection to 64 numbers; an MLP of the joint state; two observations; a 1-D U-Net conditioned by FiLM on both and on
the diffusion step; 100 steps of noise on a squared cosine, of which DDIM does 10; it predicts the clean actions;
actions, state and points scaled to [-1, 1] by their ranges in the data; AdamW, cosine with warm-up, moving average.

What differs:
- the sizes: `simple` is its authors' (widths 128, 256, 384), with horizon 4 and 3 steps executed as in their paper and
  first settings (later ones: 16 and 8); `small` has half the widths; their larger one (512, 1024, 2048) is not
  offered: it does not train on CPU cores in the same time;
- the cloud: the 768 points that our own policy gets (512 seen ones, 128 of each robot about its hand), where theirs is
  a farthest-point sample of 512 or 1024 of a cropped cloud; no colours, as in theirs by default; no labels;
- the state is the 36 measured joint angles, the actions 36 joint targets, one each 0.1 s;
- mirror images of the data, as ours has; the original has no augmentation;
- the training is counted in steps or minutes, not epochs; batches are those of our own training (no loader processes).
"""

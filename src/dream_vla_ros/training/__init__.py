"""Fine-tuning: samples, objectives and LoRA, and checkpoints in the published layout; no ROS."""

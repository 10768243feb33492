"""The same fit on one machine or many: loop, device, checkpoints."""

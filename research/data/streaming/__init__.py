"""Read training rows during training: order row groups, fill buffers, and make batches from them."""

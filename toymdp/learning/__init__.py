"""What is learnt from feedback: arrays in, arrays out; claims, methods and the bridge share it."""

"""Low precision with proof: plans, the numeric debugger, paired proof, and the watch in serving."""

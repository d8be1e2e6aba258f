"""What the fused ops and the reference share: argument checks, dtype rules, settings, the table of loss kinds."""

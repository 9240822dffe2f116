"""What runs inside a sandbox: copied there as plain files, with `r1env.sandbox.wire`, and imported there by bare names."""

"""Everything needed to run the program somewhere: local services, images, manifests."""

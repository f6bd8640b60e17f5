"""What order-facts costs, measured on a real broker and Redis, beside other ways to do the same work."""

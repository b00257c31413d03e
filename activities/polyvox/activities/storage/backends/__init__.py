"""What the stores are kept in: SQLite files, PostgreSQL databases and S3-compatible buckets."""

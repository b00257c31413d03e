"""What commands read: options, assignments, the data folder's stores."""

"""Access tokens: providers for all kinds of credential, and one cache over them."""

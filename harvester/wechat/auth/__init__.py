"""Access tokens: one provider for each kind of credential, and one cache over all of them."""

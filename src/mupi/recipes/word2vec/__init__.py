"""Word2Vec and analogies."""

//! What is left of holes where names are via tuples and an existing process counts as success.

"""Finding the cheapest precision plan that is proven to keep an accuracy budget."""

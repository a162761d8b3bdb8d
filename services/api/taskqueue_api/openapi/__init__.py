"""What is told of the API: the OpenAPI document, its texts and examples, and the page that shows it."""

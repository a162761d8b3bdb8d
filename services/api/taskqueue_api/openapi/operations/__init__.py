"""The texts of the OpenAPI document: what each operation takes and answers, by group."""

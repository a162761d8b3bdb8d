"""What travels over HTTP: each shape once, as a model that validates, answers and describes.

Knows no store and no broker. Times are in Unix seconds, with milliseconds; spans in seconds.
"""

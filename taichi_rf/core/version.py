"""The version of this library, which every run writes down."""

VERSION = "0.1.0"

"""From rows of data to rows of a table: aggregation and derived values."""

"""Where everything rests: rows, transactions, migrations."""

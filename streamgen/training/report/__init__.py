"""The report of `streamgen evaluate`: what is measured, contact sheets, tables, and a page to read them on."""

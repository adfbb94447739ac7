"""The report on a table: one page of HTML that holds its pictures.

jinja2 and matplotlib, which the extra `table` brings, are imported when a page is made.
"""

from fastnn.report.page import Conditions, page

__all__ = ["Conditions", "page"]

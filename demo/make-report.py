"""Draws the sample report: two pages, invented company and figures. Usage: make-report.py FILE [CUSTOMER [NUMBER]]"""

import sys

from reportlab.lib.colors import HexColor, white
from reportlab.lib.pagesizes import A4
from reportlab.lib.units import mm
from reportlab.pdfgen import canvas

INK, QUIET, BLUE, PALE = HexColor("#1d2731"), HexColor("#6b7780"), HexColor("#0b3c5d"), HexColor("#eef3f7")
ACCENT = HexColor("#d9b310")
WIDTH, HEIGHT = A4
CUSTOMER = sys.argv[2] if len(sys.argv) > 2 else "42"
NUMBER = sys.argv[3] if len(sys.argv) > 3 else "2026-0042"
LEFT, RIGHT = 20 * mm, WIDTH - 20 * mm

ITEMS = [
    ("Delivery of video on demand", "1,840 GiB", "0.021", 38.64),
    ("Delivery of documents and pictures", "212 GiB", "0.021", 4.45),
    ("Live stream, 3 events of 90 minutes", "270 min", "0.180", 48.60),
    ("Storage, monthly average", "640 GiB", "0.015", 9.60),
    ("Signed links issued", "184,000", "0.00005", 9.20),
    ("Support, standard", "1 month", "45.000", 45.00),
]
MONTHS = [("Jun", 1210), ("Jul", 1365), ("Aug", 1320), ("Sep", 1590), ("Oct", 1745), ("Nov", 2052)]


def text(page, x, y, words, size=10, font="Helvetica", colour=INK, align="left"):
    page.setFont(font, size)
    page.setFillColor(colour)
    {"left": page.drawString, "right": page.drawRightString, "centre": page.drawCentredString}[align](x, y, words)


def frame(page, title, number):
    page.setFillColor(BLUE)
    page.rect(0, HEIGHT - 34 * mm, WIDTH, 34 * mm, stroke=0, fill=1)
    page.setFillColor(ACCENT)
    page.rect(0, HEIGHT - 35.5 * mm, WIDTH, 1.5 * mm, stroke=0, fill=1)
    text(page, LEFT, HEIGHT - 19 * mm, "Example Media Ltd", 20, "Helvetica-Bold", white)
    text(page, LEFT, HEIGHT - 26 * mm, "1 Sample Street, Exampletown", 9, colour=white)
    text(page, RIGHT, HEIGHT - 19 * mm, title, 16, colour=white, align="right")
    text(page, RIGHT, HEIGHT - 26 * mm, f"No. {NUMBER}", 9, colour=white, align="right")
    page.setStrokeColor(PALE)
    page.line(LEFT, 20 * mm, RIGHT, 20 * mm)
    text(page, LEFT, 14 * mm, "A sample document of the mediagate demo. Names and figures are invented.", 8, colour=QUIET)
    text(page, RIGHT, 14 * mm, f"Page {number} of 2", 8, colour=QUIET, align="right")


def invoice(page):
    frame(page, "Invoice", 1)
    y = HEIGHT - 52 * mm
    text(page, LEFT, y, "BILLED TO", 8, "Helvetica-Bold", QUIET)
    for step, line in enumerate([f"Customer {CUSTOMER}", "Sample Films Cooperative", "7 Placeholder Road, Exampletown"]):
        text(page, LEFT, y - (6 + 5 * step) * mm, line, 10, "Helvetica-Bold" if step == 0 else "Helvetica")
    for step, (name, value) in enumerate(
        [("Date", "30 November 2026"), ("Period", "1 to 30 November 2026"), ("Due", "14 December 2026")]
    ):
        text(page, 125 * mm, y - 5.5 * step * mm, name, 9, colour=QUIET)
        text(page, RIGHT, y - 5.5 * step * mm, value, 10, align="right")

    y -= 36 * mm
    page.setFillColor(BLUE)
    page.rect(LEFT, y - 3 * mm, RIGHT - LEFT, 9 * mm, stroke=0, fill=1)
    columns = [(LEFT + 3 * mm, "left"), (122 * mm, "right"), (150 * mm, "right"), (RIGHT - 3 * mm, "right")]
    for (x, align), head in zip(columns, ["Item", "Quantity", "Unit price", "Amount, EUR"]):
        text(page, x, y, head, 9, "Helvetica-Bold", white, align)
    for row, (item, quantity, price, amount) in enumerate(ITEMS):
        y -= 9 * mm
        if row % 2:
            page.setFillColor(PALE)
            page.rect(LEFT, y - 3 * mm, RIGHT - LEFT, 9 * mm, stroke=0, fill=1)
        for (x, align), cell in zip(columns, [item, quantity, price, f"{amount:,.2f}"]):
            text(page, x, y, cell, 10, align=align)

    net = sum(item[3] for item in ITEMS)
    y -= 8 * mm
    page.setStrokeColor(BLUE)
    page.line(LEFT, y + 3 * mm, RIGHT, y + 3 * mm)
    for label, value, bold in [("Net", net, False), ("VAT 20 %", net * 0.2, False), ("Total", net * 1.2, True)]:
        y -= 6.5 * mm
        font, size = ("Helvetica-Bold", 12) if bold else ("Helvetica", 10)
        text(page, 150 * mm, y, label, size, font, align="right")
        text(page, RIGHT - 3 * mm, y, f"{value:,.2f}", size, font, align="right")

    text(page, LEFT, y - 22 * mm, "Thank you.", 12, "Helvetica-Bold", BLUE)
    text(page, LEFT, y - 29 * mm, "Please name the invoice number with your payment.", 10, colour=QUIET)


def usage(page):
    frame(page, "Usage report", 2)
    y = HEIGHT - 52 * mm
    text(page, LEFT, y, "Delivered per month, GiB", 13, "Helvetica-Bold", BLUE)
    base, height = y - 92 * mm, 80 * mm
    for mark in range(0, 2501, 500):
        line = base + height * mark / 2500
        page.setStrokeColor(PALE)
        page.line(LEFT + 12 * mm, line, RIGHT, line)
        text(page, LEFT + 9 * mm, line - 1 * mm, f"{mark:,}", 8, colour=QUIET, align="right")
    step = (RIGHT - LEFT - 12 * mm) / len(MONTHS)
    for column, (month, value) in enumerate(MONTHS):
        x = LEFT + 12 * mm + column * step
        page.setFillColor(ACCENT if column == len(MONTHS) - 1 else BLUE)
        page.rect(x + step * 0.2, base, step * 0.6, height * value / 2500, stroke=0, fill=1)
        text(page, x + step / 2, base + height * value / 2500 + 2 * mm, f"{value:,}", 9, "Helvetica-Bold", align="centre")
        text(page, x + step / 2, base - 5 * mm, month, 9, colour=QUIET, align="centre")

    y = base - 22 * mm
    text(page, LEFT, y, "In short", 13, "Helvetica-Bold", BLUE)
    for row, line in enumerate(
        [
            "Delivery grew by 18 % against October; video is nine tenths of it.",
            "184,000 links were issued. 2,310 requests came with an expired link and were refused.",
            "The busiest hour was Saturday the 21st, from 20:00, at 410 requests a second.",
        ]
    ):
        text(page, LEFT + 3 * mm, y - (8 + 6.5 * row) * mm, "\u2022  " + line, 10)


def main(path):
    page = canvas.Canvas(path, pagesize=A4, invariant=1)
    page.setTitle("Sample invoice and usage report")
    page.setAuthor("mediagate demo")
    page.setSubject("Sample media")
    for draw in (invoice, usage):
        draw(page)
        page.showPage()
    page.save()


main(sys.argv[1])

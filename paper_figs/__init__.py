"""Figures for papers, one file each: compute through the packages, then draw from the table."""

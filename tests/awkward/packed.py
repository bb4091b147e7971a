"""Compressed files, folders, and what is no table at all."""

from __future__ import annotations

import bz2
import gzip
import lzma

from tests.awkward.case import PLAIN, SAVE_CSV, TWO, Case, folder_of, zipped, zstd
from tests.awkward.writers import workbook

PACKED = [
    Case("plain.csv.gz", gzip.compress(PLAIN), "gzip", "comma-separated, UTF-8, gzip", TWO),
    Case("plain.tsv.bz2", bz2.compress(PLAIN.replace(b",", b"\t")), "bzip2",
         "tab-separated, UTF-8, bzip2", TWO),
    Case("plain.csv.xz", lzma.compress(PLAIN), "xz", "comma-separated, UTF-8, xz", TWO),
    Case("plain.csv.zst", zstd(PLAIN), "zstd", "comma-separated, UTF-8, zstd", TWO),
    Case("plain.zip", zipped(plain_csv=PLAIN, readme_md=b"x"), "ZIP",
         "comma-separated, UTF-8, 'plain.csv' in ZIP", TWO),
    Case("two.zip", zipped(a_csv=b"text\n", b_csv=PLAIN), "ZIP-two",
         "comma-separated, UTF-8, 'b.csv' in ZIP (1 other)", TWO),
    Case("chosen.zip", zipped(a_csv=PLAIN, b_tsv=b"text\nx\n"), "ZIP-named",
         "comma-separated, UTF-8, 'b.tsv' in ZIP (1 other)".replace("comma", "tab"),
         [["text"], ["x"]], options={"sheet": "b.tsv"}),
    Case("book.xlsx.gz", workbook({"S": TWO}, gzip.compress), "Excel-gzip",
         "Excel, sheet 'S', gzip", TWO),
    Case("none.zip", zipped(readme_md=b"x"), "ZIP-none",
         error=("The ZIP archive holds no table.", "none.zip",
                "Unpack it, and give the file with the rows.")),
    Case("cut.csv.gz", gzip.compress(PLAIN * 99)[:-20], "damaged-gzip",
         error=("The gzip archive is damaged: Compressed file ended before the end-of-stream "
                "marker was reached.", "cut.csv.gz", "Fetch or make it anew.")),
    Case("wrong.csv.gz", PLAIN, "not-gzip",
         error=("This is no gzip archive although its name ends in .gz.", "wrong.csv.gz",
                "Fetch it anew; or, if it is not packed, take .gz off its name.")),
    Case("cut.zip", zipped(plain_csv=PLAIN)[:-9], "damaged-ZIP",
         error=("The ZIP archive is damaged: File is not a zip file.", "cut.zip",
                "Fetch or make it anew.")),
    Case("bomb.csv.xz", lzma.compress(b"text,label\n" + b"\n" * (257 << 20), preset=0), "bomb",
         error=("The archive unpacks to more than 400 times its size.", "bomb.csv.xz",
                "If it is meant so, unpack it yourself, and give the table inside.")),
    Case("alone.gz", gzip.compress(PLAIN), "no-inner-ending",
         error=("Files that end in '.gz' alone are not understood.", "alone.gz",
                "Name it as the table inside, as alone.csv.gz.")),
]  # fmt: skip

OTHERS = [
    Case("parts", folder_of(data_train_csv=PLAIN, data_test_csv=b"text,label\nso so,neg\n"),
         "folder", "data_test.csv: comma-separated, UTF-8; data_train.csv: comma-separated, UTF-8",
         [["text", "label", "split"], ["so so", "neg", "test"], ["a good film", "pos", "train"],
          ["a bad one", "neg", "train"]]),
    Case("uneven", folder_of(train_csv=PLAIN, dev_csv=b"text\nso so\n", notes_csv=b"x"),
         "folder-uneven", "dev.csv: comma-separated, UTF-8; train.csv: comma-separated, UTF-8",
         [["text", "split", "label"], ["so so", "validation", ""],
          ["a good film", "train", "pos"], ["a bad one", "train", "neg"]],
         notes=("dev.csv has no column 'label': empty in its rows.",
                "Left out of the folder: 'notes.csv'.")),
    Case("kinds", folder_of(train_csv=PLAIN, test_jsonl=b"{}"), "folder-kinds",
         error=("The folder has parts of several formats: 'test.jsonl', 'train.csv'.", "kinds",
                "Keep the files of one format in it.")),
    Case("plain-folder", folder_of(notes_csv=PLAIN), "folder-no-parts",
         error=("This is a folder, not a file.", "plain-folder",
                "Name a file in it. Only a folder with files such as train.csv and test.csv is "
                "read as one table.")),
    Case("pointer.parquet",
         b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n", "LFS",
         error=("This is a pointer of Git LFS, not the file itself.", "pointer.parquet",
                "Fetch the file with: git lfs pull")),
    Case("article.txt", b"%PDF-1.7\n%\xe2\xe3", "PDF",
         error=("This is a PDF although its name ends in .txt.", "article.txt", SAVE_CSV)),
    Case("frame.pkl", b"\x80\x04\x95", "pickle",
         error=("Pickles are never read: they can run any program when they are opened.",
                "frame.pkl", "Save the table as CSV or Parquet: frame.to_parquet(…).")),
]  # fmt: skip

#!/bin/sh
# A table learned, tested and used from a shell: sh examples/table.sh FOLDER
#
# Makes a table of flowers, learns it, and leaves in FOLDER/flowers the model, the predictions of
# rows held out, and a report for a browser.
set -e
cd "${1:-.}"

awk 'BEGIN {
  srand(1); print "petal;sepal;color;site;species"
  split("red blue white", colors); split("north south east", sites)
  for (i = 0; i < 300; i++) {
    kind = i % 3
    petal = 1.5 + 1.2 * kind + 1.6 * (rand() - 0.5); sepal = 5 + kind * 0.7 + rand()
    text = sprintf("%.1f;%.1f;%s;%s", petal, sepal, colors[1 + int(3 * rand())], sites[1 + int(3 * rand())])
    gsub(/\./, ",", text)                         # decimal commas, as in many exports
    if (i % 10 == 0) sub(/;[^;]*;/, ";;", text)   # and missing cells
    print text ";" substr("setosa    versicolorvirginica ", 1 + kind * 10, 10)
  }
}' > flowers.csv

fastnn train flowers.csv --target species --members 2 --epochs 40 --output flowers
fastnn evaluate flowers/model.safetensors flowers.csv --group color
fastnn explain flowers/model.safetensors flowers.csv | tail -5

# One row from another program, and the answer to the next.
printf 'petal;color;sepal;site\n5,6;green;6,4;north\n' |
  fastnn predict flowers/model.safetensors - --probabilities
